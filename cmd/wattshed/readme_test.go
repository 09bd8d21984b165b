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

func readme(t *testing.T) ([]byte, []block) {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
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
		t.Fatalf("README.md:%d: the block is never closed", open.line)
	}
	return b, list
}

// TestReadmeCommands runs the sh blocks of the README in an empty folder, in order; yaml blocks that name a file
// are written there first.
func TestReadmeCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("trains and measures for a minute")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no sh here")
		}
		t.Skip("no sh here")
	}
	_, blocks := readme(t)
	dir := t.TempDir()
	ran := 0
	for _, b := range blocks {
		switch b.lang {
		case "yaml":
			if rest, ok := strings.CutPrefix(b.text, "# file: "); ok {
				name, _, _ := strings.Cut(rest, "\n")
				if err := os.WriteFile(filepath.Join(dir, name), []byte(b.text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		case "sh":
			cmd := exec.Command("sh", "-e")
			cmd.Dir, cmd.Stdin = dir, strings.NewReader(b.text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("README.md:%d: %v\n%s%s", b.line, err, b.text, out)
			}
			ran++
		}
	}
	if ran < 5 {
		t.Errorf("%d blocks ran, the README has more examples than that", ran)
	}
}

// Every command has an example in the README, and every recipe in it is one that parses.
func TestReadmeComplete(t *testing.T) {
	text, blocks := readme(t)
	var shell strings.Builder
	for _, b := range blocks {
		switch b.lang {
		case "sh":
			shell.WriteString(b.text)
		case "yaml":
			if _, err := recipe.Parse(strings.NewReader(b.text), "README.md", "."); err != nil {
				t.Errorf("README.md:%d: %v", b.line, err)
			}
		}
	}
	for _, c := range newApp(nil, nil, nil).VisibleCommands() {
		if c.Name == "demo" || c.Name == "help" { // the demo is a step of .ci/run
			continue
		}
		if !strings.Contains(shell.String(), "wattshed "+c.Name+" ") && !strings.Contains(shell.String(), "wattshed "+c.Name+"\n") {
			t.Errorf("README.md has no example of %s", c.Name)
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllSubmatch(text, -1) {
		if path := string(m[1]); !strings.Contains(path, "://") {
			if _, err := os.Stat(filepath.Join("..", "..", path)); err != nil {
				t.Errorf("README.md: link: %v", err)
			}
		}
	}
}

// The make targets that the README names exist.
func TestReadmeTargets(t *testing.T) {
	text, _ := readme(t)
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
	text, _ := readme(t)
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
