package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == memoryName { // a test called run, and that measures memory in a process of its own
		main()
		return
	}
	testscript.Main(m, map[string]func(){"wattshed": main})
}

// TestScript runs testdata/script: one file per command. Every script starts in a folder that holds
// train.jsonl (64 labelled texts), test.jsonl (24), small.onnx (a classifier trained on the former), unknown.onnx (one operator of
// a domain that no runtime has), plain.onnx (small.onnx without what its metadata say, and with "123" for the name of linear.weight), custom.onnx (small.onnx with such a node) and mystery.onnx (small.onnx with a node whose operator the
// standard domain does not have), places.onnx (12 positions), and what pictures makes.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv(envLockDir, env.WorkDir) // tests that run at once are not one machine
			return prepare(env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "cut": cmdCut, "spoil": cmdSpoil, "waitfor": cmdWaitFor, "clean": cmdClean, "json": cmdJSON, "older": cmdOlder, "denied": cmdDenied, "repeat": cmdRepeat,
		},
	})
}

// unknownModel is an ONNX model of one node: mystery, operator Frobnicate of domain com.example.
const unknownModel = "CAg6TwooCgF4EgF5GgdteXN0ZXJ5IgpGcm9ibmljYXRlOgtjb20uZXhhbXBsZRIBZ1oPCgF4EgoKCAgBEgQKAggEYg8KAXkSCgoICAESBAoCCARCAhARQg8KC2NvbS5leGFtcGxlEAE="

// smallModel trains the model of the scripts, once for all of them.
var smallModel = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "wattshed-small-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	data, out := filepath.Join(dir, "train.jsonl"), filepath.Join(dir, "small.onnx")
	if err := os.WriteFile(data, texts(64, 1), 0o666); err != nil {
		return nil, err
	}
	var messages bytes.Buffer
	args := []string{"wattshed", "train", data, "-o", out, "--embedding", "16", "--hidden", "16", "--epochs", "20", "--max-length", "16", "--learning-rate", "0.02", "--batch", "16", "--quiet"}
	if code := run(context.Background(), args, nil, &messages, &messages); code != 0 {
		return nil, fmt.Errorf("train: exit %d: %s", code, &messages)
	}
	return os.ReadFile(out)
})

// prepare fills the folder of a script.
func prepare(dir string) error {
	small, err := smallModel()
	if err != nil {
		return err
	}
	unknown, err := base64.StdEncoding.DecodeString(unknownModel)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"small.onnx": small, "unknown.onnx": unknown, "train.jsonl": texts(64, 1), "test.jsonl": texts(24, 2)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			return err
		}
	}
	for _, m := range []struct{ name, domain string }{{"mystery.onnx", ""}, {"custom.onnx", "com.example"}} {
		g, err := onnx.Parse(small, onnx.Options{})
		if err != nil {
			return err
		}
		g.Nodes = append(g.Nodes, &model.Node{Name: "mystery", Op: "Frobnicate", Domain: m.domain, Inputs: []string{g.Outputs[0].Name}, Outputs: []string{"odd"}})
		g.Outputs = append(g.Outputs, &model.Value{Name: "odd", Type: g.Outputs[0].Type})
		if m.domain != "" {
			g.SetOpset(m.domain, 1)
		}
		if err := onnx.Save(filepath.Join(dir, m.name), g, onnx.WriteOptions{}); err != nil {
			return err
		}
	}
	g, err := onnx.Parse(small, onnx.Options{})
	if err != nil {
		return err
	}
	g.Model.Meta = nil
	g.SetInitializer("123", g.Initializer("linear.weight"))
	g.RemoveInitializer("linear.weight")
	for _, n := range g.Nodes {
		for i, in := range n.Inputs {
			if in == "linear.weight" {
				n.Inputs[i] = "123"
			}
		}
	}
	if err := onnx.Save(filepath.Join(dir, "plain.onnx"), g, onnx.WriteOptions{}); err != nil {
		return err
	}
	if err := places(dir); err != nil {
		return err
	}
	return pictures(dir)
}

// places writes places.onnx, a model of tokens with a table of 12 positions.
func places(dir string) error {
	tokens := model.Type{DType: model.Int64, Shape: model.Shape{{Size: -1, Param: "batch"}, {Size: -1, Param: "length"}}}
	g := &model.Graph{Name: "places", Inputs: []*model.Value{{Name: "ids", Type: tokens}}, Model: &model.Info{IRVersion: 8},
		Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32, Shape: model.Shape{{Size: -1, Param: "batch"}, {Size: -1, Param: "length"}, {Size: 4}}}}},
		Nodes: []*model.Node{
			{Op: "Gather", Name: "words", Inputs: []string{"words.weight", "ids"}, Outputs: []string{"w"}},
			{Op: "Shape", Name: "shape", Inputs: []string{"ids"}, Outputs: []string{"s"}},
			{Op: "Gather", Name: "length", Inputs: []string{"s", "one"}, Outputs: []string{"n"}},
			{Op: "Range", Name: "range", Inputs: []string{"zero", "n", "one"}, Outputs: []string{"at"}},
			{Op: "Gather", Name: "places", Inputs: []string{"places.weight", "at"}, Outputs: []string{"p"}},
			{Op: "Add", Name: "add", Inputs: []string{"w", "p"}, Outputs: []string{"y"}},
		}}
	g.SetOpset("", 17)
	g.SetInitializer("words.weight", model.FromSlice([]int{50, 4}, make([]float32, 200)))
	g.SetInitializer("places.weight", model.FromSlice([]int{12, 4}, make([]float32, 48)))
	g.SetInitializer("zero", model.Scalar(int64(0)))
	g.SetInitializer("one", model.Scalar(int64(1)))
	return onnx.Save(filepath.Join(dir, "places.onnx"), g, onnx.WriteOptions{})
}

// texts returns n labelled texts as JSON lines; words of one class in every second place tell the label.
func texts(n int, seed uint64) []byte {
	common := strings.Fields("the a to and we you is on for it of this")
	telling := map[string][]string{"ham": strings.Fields("meeting report project notes review budget team draft"),
		"spam": strings.Fields("winner free money offer click prize cheap credit")}
	rng := rand.New(rand.NewPCG(seed, 1))
	var out bytes.Buffer
	for i := range n {
		label := []string{"ham", "spam"}[i%2]
		var words []string
		for range 3 + rng.IntN(4) {
			words = append(words, common[rng.IntN(len(common))], telling[label][rng.IntN(8)])
		}
		line, _ := json.Marshal(map[string]string{"text": strings.Join(words, " "), "label": label})
		out.Write(append(line, '\n'))
	}
	return out.Bytes()
}

// cmdExits: exits CODE PROGRAM ARG... runs the program and wants that exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdCut: cut FILE OUT N/D writes the first N/D of the file.
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cut FILE OUT N/D")
	}
	var n, d int
	_, err := fmt.Sscanf(args[2], "%d/%d", &n, &d)
	ts.Check(err)
	b := []byte(ts.ReadFile(args[0]))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b[:len(b)*n/d], 0o666))
}

// cmdSpoil: spoil FILE OUT writes the file with its first kilobyte inverted from byte 2 on.
func cmdSpoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: spoil FILE OUT")
	}
	b := []byte(ts.ReadFile(args[0]))
	for i := 2; i < min(len(b), 1024); i++ {
		b[i] ^= 0xff
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o666))
}

// cmdWaitFor: waitfor FILE REGEXP waits until the file exists and matches, a minute at most.
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	re := regexp.MustCompile(args[1])
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && re.Match(b) {
			return
		}
	}
	ts.Fatalf("%s: nothing that matches %s in a minute", args[0], args[1])
}

// cmdClean: clean DIR wants that no file of an unfinished write lies in the folder.
func cmdClean(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: clean DIR")
	}
	if left := unfinished(ts.MkAbs(args[0])); len(left) > 0 {
		ts.Fatalf("left behind: %q", left)
	}
}

// unfinished lists what interrupted writes left in the folder: names that start with a dot or end in .partial.
func unfinished(dir string) []string {
	var left []string
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name := filepath.Base(path)
		if err == nil && path != dir && (strings.HasPrefix(name, ".") && !strings.HasPrefix(name, ".tmp") || strings.HasSuffix(name, ".partial")) {
			left = append(left, path)
		}
		return nil
	})
	return left
}

// cmdJSON: json FILE PATH REGEXP wants that the value at the path (keys and positions with dots between) matches.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: json FILE PATH REGEXP")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	for key := range strings.SplitSeq(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(x) {
				ts.Fatalf("%s: no element %s", args[1], key)
			}
			v = x[i]
		default:
			ts.Fatalf("%s: nothing called %s", args[1], key)
		}
	}
	b, err := json.Marshal(v)
	ts.Check(err)
	if regexp.MustCompile(args[2]).Match(b) == neg {
		ts.Fatalf("%s is %s", args[1], b)
	}
}

// cmdRepeat: repeat FILE OUT N writes the file N times over.
func cmdRepeat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: repeat FILE OUT N")
	}
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Repeat(ts.ReadFile(args[0]), n)), 0o666))
}

// cmdOlder: older A B wants that file A was written before file B, or at the same time.
func cmdOlder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: older A B")
	}
	a, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if a.ModTime().After(b.ModTime()) {
		ts.Fatalf("%s was written after %s", args[0], args[1])
	}
}
