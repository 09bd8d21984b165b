package dense_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestStart builds a program that imports this package and runs it with an empty environment: gorgonia.org/tensor
// ends the process at start when its pin of assume-no-moving-gc does not hold for this Go release.
func TestStart(t *testing.T) {
	dir, err := os.MkdirTemp(".", "_start-") // inside the module, for its go.mod
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const program = `package main

import (
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/dense"
)

func main() {
	d, err := dense.From(model.Scalar(float32(1)))
	if err != nil {
		panic(err)
	}
	println(d.Size())
}
`
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o666); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "start.exe")
	if out, err := exec.Command("go", "build", "-o", bin, "./"+filepath.Base(dir)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.Command(bin)
	run.Env = []string{}
	if out, err := run.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "1" {
		t.Errorf("%v: %s", err, out)
	}
}
