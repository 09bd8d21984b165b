package model_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestGuard: bytes that were there when they were first touched and are not any more, of one of several files, and writes from them. In a process of
// its own, as TestTruncated.
func TestGuard(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read, not mapped, on windows")
	}
	if dir := os.Getenv("MODEL_GUARD"); dir != "" {
		guarded(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestGuard$", "-test.v")
	cmd.Env = append(os.Environ(), "MODEL_GUARD="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestGuard") {
		t.Errorf("%v\n%s", err, out)
	}
}

func guarded(t *testing.T, dir string) {
	const size = 1 << 20
	g := &model.Graph{Model: &model.Info{Functions: []*model.Function{{Nodes: []*model.Node{{Op: "Constant"}}}}}}
	body := &model.Graph{}
	var files []*model.Mapping
	for i, name := range []string{"initializer", "attribute", "body", "function"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte{byte(i + 1)}, size), 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := model.MapFile(path)
		if err != nil {
			t.Fatal(err)
		}
		x, err := m.Tensor(model.Uint8, []int{size}, m.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Bytes(); err != nil {
			t.Fatal(err)
		}
		switch name {
		case "initializer":
			g.SetInitializer("w", x)
			g.SetInitializer("again", x)
		case "attribute":
			g.Nodes = append(g.Nodes, &model.Node{Op: "Constant", Attrs: []model.Attr{model.TensorAttr("value", x)}}, &model.Node{Op: "If", Attrs: []model.Attr{{Name: "then_branch", Kind: model.AttrGraph, G: body}}})
		case "body":
			body.SetInitializer("w", x)
		case "function":
			g.Model.Functions[0].Nodes[0].Attrs = []model.Attr{{Name: "values", Kind: model.AttrTensors, Tensors: []*model.Tensor{x}}}
		}
		files = append(files, m)
	}
	if got := g.Mappings(); len(got) != len(files) {
		t.Fatalf("%d files, want %d", len(got), len(files))
	}
	if got := (*model.Graph)(nil).Mappings(); got != nil {
		t.Errorf("no graph has %d files", len(got))
	}
	if err := model.Whole(g.Mappings()); err != nil {
		t.Error(err)
	}
	for _, m := range files {
		if err := os.Truncate(m.Path(), size-100000); err != nil { // the last page is gone, and that before it reads as zeros at its end
			t.Fatal(err)
		}
		says := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, model.ErrTruncated) || !strings.Contains(err.Error(), m.Path()) || !strings.Contains(err.Error(), "to 948576 bytes") {
				t.Errorf("%s: %s: %v", m.Path(), what, err)
			}
		}
		all := func() []*model.Mapping {
			runtime.GC() // looks at the frames of what faulted
			return []*model.Mapping{m}
		}
		says("read", model.Guard(all, func() error {
			if m.Bytes()[size-1] == 77 {
				return errors.New("read a byte that is not there")
			}
			return nil
		}))
		says("copied", model.Guard(all, func() error {
			copy(make([]byte, 1<<14), m.Bytes()[size-1<<14:])
			return nil
		}))
		says("compared", model.Guard(all, func() error {
			if bytes.IndexByte(m.Bytes(), 77) >= 0 || bytes.Equal(m.Bytes(), make([]byte, size)) {
				return errors.New("bytes that are not there")
			}
			return nil
		}))
		says("hashed", model.Guard(all, func() error {
			sha256.Sum256(m.Bytes()) // by assembly
			return nil
		}))
		says("written", model.Guard(all, func() error {
			f, err := os.Create(filepath.Join(dir, "out"))
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.Write(m.Bytes())
			return err
		}))
		says("whole", model.Whole([]*model.Mapping{m}))
		if err := model.Guard(all, func() error { return nil }); err != nil {
			t.Errorf("nothing read: %v", err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := model.Whole([]*model.Mapping{m}); err != nil {
			t.Errorf("closed: %v", err)
		}
	}
	failed := errors.New("no fault of a file")
	if err := model.Guard(g.Mappings, func() error { return failed }); err != failed {
		t.Errorf("another error: %v", err)
	}
	defer func() {
		if r := recover(); r != "no fault" {
			t.Errorf("another panic: %v", r)
		}
	}()
	_ = model.Guard(g.Mappings, func() error { panic("no fault") })
}
