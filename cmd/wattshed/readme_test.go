package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/internal/recipe"
)

// block is a fenced block of a Markdown file.
type block struct {
	lang, text string
	line       int
}

// pages are the documents whose examples are run, in this order and in one folder.
var pages = []string{"README.md", "cmd/wattshed/COMMANDS.md", "internal/recipe/RECIPE.md"}

func page(t *testing.T, name string) ([]byte, []block) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	var list []block
	var open *block
	sc := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; sc.Scan(); n++ {
		fence, isFence := strings.CutPrefix(sc.Text(), "```")
		switch {
		case isFence && open == nil:
			open = &block{lang: fence, line: n}
		case isFence:
			list = append(list, *open)
			open = nil
		case open != nil:
			open.text += sc.Text() + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block is never closed", name, open.line)
	}
	return b, list
}

// TestReadmeCommands runs the sh blocks of the pages, and the commands of this program in console blocks, in an empty folder; yaml blocks that
// name a file are written there first. What a console block shows of the output is there, but for lines with figures.
func TestReadmeCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("trains and measures for two minutes")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no sh here")
		}
		t.Skip("no sh here")
	}
	dir := t.TempDir()
	ran, shown := 0, 0
	for _, name := range pages {
		_, blocks := page(t, name)
		for _, b := range blocks {
			run := func(script string) string {
				cmd := exec.Command("sh", "-e")
				cmd.Dir, cmd.Stdin = dir, strings.NewReader(script)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s:%d: %v\n%s%s", name, b.line, err, script, out)
				}
				return string(out)
			}
			switch command, output, _ := strings.Cut(b.text, "\n"); {
			case b.lang == "yaml":
				if rest, ok := strings.CutPrefix(b.text, "# file: "); ok {
					file, _, _ := strings.Cut(rest, "\n")
					if err := os.WriteFile(filepath.Join(dir, file), []byte(b.text), 0o666); err != nil {
						t.Fatal(err)
					}
				}
			case b.lang == "sh":
				run(b.text)
				ran++
			case b.lang == "console" && strings.HasPrefix(command, "$ wattshed "):
				lacking := missingLines(run(command[2:]), output)
				if len(lacking) > 0 {
					t.Errorf("%s:%d: the output lacks %q", name, b.line, lacking)
				}
				shown++
			}
		}
	}
	if ran < 5 || shown < 3 {
		t.Errorf("%d blocks and %d outputs, the pages have more examples than that", ran, shown)
	}
}

// missingLines lists the lines without figures of want that are not in got, whatever their columns.
func missingLines(got, want string) []string {
	lines := map[string]bool{}
	for _, l := range strings.Split(got, "\n") {
		lines[strings.Join(strings.Fields(l), " ")] = true
	}
	var out []string
	for _, l := range strings.Split(want, "\n") {
		if l != "..." && !strings.ContainsAny(l, "0123456789") && !lines[strings.Join(strings.Fields(l), " ")] {
			out = append(out, l)
		}
	}
	return out
}

// Every command has an example on the pages and stands in the README, every recipe in them is one that parses, and every link leads somewhere.
func TestReadmeComplete(t *testing.T) {
	var shell strings.Builder
	for _, name := range pages {
		text, blocks := page(t, name)
		for _, b := range blocks {
			switch b.lang {
			case "sh":
				shell.WriteString(b.text)
			case "yaml":
				if _, err := recipe.Parse(strings.NewReader(b.text), name, "."); err != nil {
					t.Errorf("%s:%d: %v", name, b.line, err)
				}
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllSubmatch(text, -1) {
			if path := string(m[1]); !strings.Contains(path, "://") {
				if _, err := os.Stat(filepath.Join("..", "..", filepath.Dir(name), path)); err != nil {
					t.Errorf("%s: link: %v", name, err)
				}
			}
		}
	}
	readme, _ := page(t, "README.md")
	for _, c := range newApp(nil, nil, nil).VisibleCommands() {
		if c.Name == "help" {
			continue
		}
		if !bytes.Contains(readme, []byte("`"+c.Name+"`")) {
			t.Errorf("README.md does not name %s", c.Name)
		}
		if c.Name == "demo" { // a step of .ci/run
			continue
		}
		if !strings.Contains(shell.String(), "wattshed "+c.Name+" ") && !strings.Contains(shell.String(), "wattshed "+c.Name+"\n") {
			t.Errorf("no page has an example of %s", c.Name)
		}
	}
}

// The make targets that the README names exist.
func TestReadmeTargets(t *testing.T) {
	text, _ := page(t, "README.md")
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)(?:^\\$ |`)make ([a-z-]+)").FindAllSubmatch(text, -1) {
		if !regexp.MustCompile("(?m)^" + string(m[1]) + ":").Match(makefile) {
			t.Errorf("README.md names make %s, which the Makefile does not have", m[1])
		}
	}
}

// The table of dependencies names modules of go.mod, and every one that the code imports.
func TestReadmeDependencies(t *testing.T) {
	text, _ := page(t, "README.md")
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllSubmatch(mod, -1) {
		direct[string(m[1])] = true
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z0-9.]+/\S+) \|`).FindAllSubmatch(text, -1) {
		listed[string(m[1])] = true
		if !direct[string(m[1])] {
			t.Errorf("README.md lists %s, which go.mod does not require", m[1])
		}
	}
	imported := map[string]bool{}
	err = filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "../.." && (strings.HasPrefix(d.Name(), "_") || strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		for m := range direct {
			if bytes.Contains(src, []byte("\t\""+m)) || bytes.Contains(src, []byte("import \""+m)) || bytes.Contains(src, []byte(" \""+m+"\"\n")) {
				imported[m] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for m := range imported {
		if !listed[m] {
			t.Errorf("README.md does not say what %s is for", m)
		}
	}
}
