//go:build linux

package quantize_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// streamChild names the environment variable that makes this test binary run a Stream and report its memory.
const streamChild = "WATTSHED_STREAM_CHILD"

// largeModel writes a chain of MatMul behind a table, of about size bytes of weights, in a file of their own or not. No more than one weight is in memory at a time, the first of many alike.
func largeModel(t testing.TB, dir string, size int64, width int, external bool) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(11, 12))
	raw := make([]byte, 4*width*width)
	for i := 0; i < len(raw); i += 4 {
		binary.LittleEndian.PutUint32(raw[i:], math.Float32bits(float32(rng.NormFloat64())*0.02))
	}
	ids := &model.Value{Name: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{{Size: unknown}}}}
	g := graphOf(values(ids), values(value("y", unknown, width)), nil)
	x := "table"
	for i := int64(0); i < size/int64(len(raw)); i++ {
		w, err := model.NewTensor(model.Float32, []int{width, width}, raw)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			g.SetInitializer("table", w)
			g.Nodes = append(g.Nodes, node("Gather", "x", "table", "ids"))
			x = "x"
			continue
		}
		name := fmt.Sprintf("w%d", i)
		g.SetInitializer(name, w)
		g.Nodes = append(g.Nodes, node("MatMul", "h"+name, x, name))
		x = "h" + name
	}
	g.Outputs[0].Name = x
	return saved(t, g, dir, external)
}

// highWater returns the largest resident set of this process so far.
func highWater(t testing.TB) int64 {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestStreamChild is no test: other tests run it in a process of its own.
func TestStreamChild(t *testing.T) {
	args := strings.Split(os.Getenv(streamChild), "|")
	if len(args) != 3 {
		return
	}
	s := streamSchemes()[args[0]].s
	s.In, s.Out, s.Workers = args[1], args[2], 2
	p, err := s.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("high water %d workers %d block %d planned %d\n", highWater(t), p.Workers, p.RowBlock, p.MemoryBytes)
}

// shapesModel writes a model of weights of shapes that do not come in convenient blocks of rows: columns of a single
// element, rows of megabytes, a tall table, a transposed matrix, a recurrent one of one block; 48 MB each or less.
func shapesModel(t testing.TB, dir string) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(13, 14))
	raw := make([]byte, 48<<20)
	for i := 0; i < len(raw); i += 4 {
		binary.LittleEndian.PutUint32(raw[i:], math.Float32bits(float32(rng.NormFloat64())*0.02))
	}
	weight := func(shape ...int) *model.Tensor {
		n := 4
		for _, d := range shape {
			n *= d
		}
		w, err := model.NewTensor(model.Float32, shape, raw[:n])
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	ids := &model.Value{Name: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{{Size: unknown}}}}
	gemm := node("Gemm", "yt", "xt", "gemm")
	gemm.Attrs = []model.Attr{model.IntAttr("transB", 1)}
	lstm := node("LSTM", "yl", "xl", "lw", "lr")
	lstm.Attrs = []model.Attr{model.IntAttr("hidden_size", 512)}
	g := graphOf(values(ids, value("x1", 1, 12<<20), value("x2", 1, 4), value("x3", 1, 1<<20), value("xt", 1, 3), value("xl", 1, 1, 4096)),
		values(value("y1", 1, 1), value("y2", 1, 3<<20), value("y3", 1, 12), value("yg", unknown, 6), value("yt", 1, 4<<20), value("yl", 1, 1, 1, 512)),
		map[string]*model.Tensor{"column": weight(12<<20, 1), "wide": weight(4, 3<<20), "tall": weight(1<<20, 12), "table": weight(2<<20, 6), "gemm": weight(4<<20, 3),
			"lw": weight(1, 2048, 4096), "lr": weight(1, 2048, 512)},
		node("MatMul", "y1", "x1", "column"), node("MatMul", "y2", "x2", "wide"), node("MatMul", "y3", "x3", "tall"), node("Gather", "yg", "table", "ids"), gemm, lstm)
	return saved(t, g, dir, true)
}

// TestStreamMemory: whatever the shapes of the weights, a process of its own never holds more than the plan says, nor the
// plan more than twice the largest block of rows per worker and 64 MB.
func TestStreamMemory(t *testing.T) {
	dir := t.TempDir()
	in := shapesModel(t, dir)
	for _, scheme := range []string{"int4", "int4 whole", "qdq", "fp16", "dynamic", "dynamic per-tensor"} {
		out := filepath.Join(dir, "out.onnx")
		cmd := exec.Command(os.Args[0], "-test.run", "^TestStreamChild$", "-test.v")
		cmd.Env = append(os.Environ(), streamChild+"="+scheme+"|"+in+"|"+out)
		b, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", scheme, err, b)
		}
		at := strings.Index(string(b), "high water")
		if at < 0 {
			t.Fatalf("%s: %s", scheme, b)
		}
		var water, workers, block, planned int64
		if _, err := fmt.Sscanf(string(b)[at:], "high water %d workers %d block %d planned %d", &water, &workers, &block, &planned); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: resident set at most %d MB, planned %d MB, %d workers", scheme, water>>20, planned>>20, workers)
		if limit := workers*2*block + 64<<20; water > limit || planned > limit {
			t.Errorf("%s: resident set %d MB, planned %d MB, want at most %d MB", scheme, water>>20, planned>>20, limit>>20)
		}
		if block > 16<<20 && scheme != "int4 whole" { // no row is larger than the default block; a column with one scale is
			t.Errorf("%s: blocks of %d bytes", scheme, block)
		}
		if g, err := onnx.Load(out); err != nil || model.Validate(g) != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		os.Remove(out)
		os.Remove(out + ".data")
	}
	leftovers(t, dir)
}
