package quantize_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// streamSchemes are all settings of Stream with the stage that does the same in memory.
func streamSchemes() map[string]struct {
	s     quantize.Stream
	stage func(*model.Graph) ([]model.Note, error)
} {
	all := map[string]struct {
		s     quantize.Stream
		stage func(*model.Graph) ([]model.Note, error)
	}{}
	for name, o := range map[string]quantize.WeightOnly{"int4": {}, "int4 symmetric": {Symmetric: true, Group: 16}, "int4 whole": {Group: quantize.WholeChannel},
		"int8 weights": {Bits: 8, Group: 64}, "qdq": {Format: quantize.QDQ}, "qdq symmetric": {Format: quantize.QDQ, Symmetric: true, Bits: 8, Group: 16}} {
		all[name] = struct {
			s     quantize.Stream
			stage func(*model.Graph) ([]model.Note, error)
		}{quantize.Stream{WeightOnly: &o}, func(g *model.Graph) ([]model.Note, error) { return o.Apply(context.Background(), g) }}
	}
	for name, d := range map[string]quantize.Dynamic{"dynamic": {}, "dynamic per-tensor": {Granularity: quantize.PerTensor}, "dynamic uint8": {DType: model.Uint8}} {
		all[name] = struct {
			s     quantize.Stream
			stage func(*model.Graph) ([]model.Note, error)
		}{quantize.Stream{Dynamic: &d}, d.Apply}
	}
	for name, d := range map[string]model.DType{"fp16": model.Float16, "bf16": model.BFloat16} {
		all[name] = struct {
			s     quantize.Stream
			stage func(*model.Graph) ([]model.Note, error)
		}{quantize.Stream{Half: d}, func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, d) }}
	}
	return all
}

// streamModel has weights of every form, of odd sizes, one shared, one with a value that cannot be quantized.
func streamModel(bad float32) *model.Graph {
	ids := &model.Value{Name: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{{Size: unknown}}}}
	gemm := node("Gemm", "d", "c", "wt", "b")
	gemm.Attrs = []model.Attr{model.IntAttr("transB", 1)}
	lstm := node("LSTM", "l", "e", "lw", "lr")
	lstm.Attrs = []model.Attr{model.IntAttr("hidden_size", 6)}
	gru := node("GRU", "g", "e", "gw", "gr")
	gru.Attrs = []model.Attr{model.IntAttr("hidden_size", 6), model.StringAttr("direction", "bidirectional")}
	return graphOf(values(ids), values(value("y", unknown, 100), value("l", unknown, unknown, unknown, unknown), value("g", unknown, unknown, unknown, unknown)), map[string]*model.Tensor{
		"table": normal(1, 301, 70), "w": normal(2, 70, 101), "v": normal(3, 101, 63), "wt": normal(4, 63, 63), "b": normal(5, 63), "u": with(normal(6, 63, 100), 6001, bad),
		"shape": model.FromSlice([]int{3}, []int64{-1, 1, 63}), "lw": normal(7, 1, 24, 63), "lr": normal(8, 1, 24, 6), "gw": normal(9, 2, 18, 63), "gr": normal(10, 2, 18, 6)},
		node("Gather", "a", "table", "ids"), node("MatMul", "b1", "a", "w"), node("MatMul", "c", "b1", "v"), gemm,
		node("Reshape", "e", "d", "shape"), lstm, gru, node("MatMul", "y", "d", "u"))
}

// saved writes g with its weights in the file or beside it and returns the path.
func saved(t testing.TB, g *model.Graph, dir string, external bool) string {
	t.Helper()
	path := filepath.Join(dir, "in.onnx")
	if err := onnx.Save(path, g, onnx.WriteOptions{External: external}); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStreamAsInMemory: the files are those of the stage in memory, byte for byte, for blocks of a few rows.
func TestStreamAsInMemory(t *testing.T) {
	for name, c := range streamSchemes() {
		for _, bad := range []float32{1, float32(math.Inf(1))} {
			for _, external := range []bool{false, true} {
				if external != (bad == 1) && name != "int4" {
					continue // every scheme both ways, but not with everything
				}
				dir := t.TempDir()
				in := saved(t, streamModel(bad), dir, external)
				before, _ := os.ReadFile(in)
				g, err := onnx.Load(in)
				if err != nil {
					t.Fatal(err)
				}
				g = g.Clone()
				want, err := c.stage(g)
				if err != nil {
					t.Fatal(err)
				}
				if err := quantize.Record(g); err != nil {
					t.Fatal(err)
				}
				mem := filepath.Join(dir, "out.onnx")
				if err := onnx.Save(mem, g, onnx.WriteOptions{External: external}); err != nil {
					t.Fatal(err)
				}
				expect := contents(t, mem)
				os.Remove(mem)
				os.Remove(mem + ".data")
				for _, block := range []int{1, 6000} { // strips of two columns, blocks of a few rows
					s := c.s
					s.In, s.Out, s.Block, s.External, s.Workers, s.Digest = in, mem, block, external, 3, sha256.New()
					p, err := s.Run(context.Background())
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if !bytes.Equal(contents(t, mem), expect) {
						t.Errorf("%s, external %v, block %d: not the bytes of the stage in memory", name, external, block)
					}
					if sum := sha256.Sum256(expect); !bytes.Equal(s.Digest.Sum(nil), sum[:]) {
						t.Errorf("%s, external %v, block %d: not the digest of the bytes", name, external, block)
					}
					if size := int64(len(expect)); p.ModelBytes+p.DataBytes != size {
						t.Errorf("%s: planned %d and %d bytes, written %d", name, p.ModelBytes, p.DataBytes, size)
					}
					for i := range want {
						// the count of values that become 0 is not known before the notes are made
						if !strings.Contains(want[i].Reason, "become 0") && !slices.Equal([]string{want[i].Action, want[i].Reason}, []string{p.Notes[i].Action, p.Notes[i].Reason}) {
							t.Errorf("%s: note %+v, want %+v", name, p.Notes[i], want[i])
						}
					}
				}
				if after, _ := os.ReadFile(in); !bytes.Equal(before, after) {
					t.Errorf("%s: the source was changed", name)
				}
				leftovers(t, dir)
			}
		}
	}
}

// contents returns the model's file and its external data, one after the other.
func contents(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(path + ".data")
	return append(b, data...)
}

// leftovers fails when dir holds a file under a temporary name.
func leftovers(t testing.TB, dir string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*.partial"))
	if len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

// TestStreamRefuses: what cannot be, is refused before anything is written.
func TestStreamRefuses(t *testing.T) {
	dir := t.TempDir()
	in := saved(t, streamModel(1), dir, true)
	for name, c := range map[string]struct {
		s    quantize.Stream
		want error
	}{
		"itself":        {quantize.Stream{In: in, Out: in, Half: model.Float16}, onnx.ErrSource},
		"its data":      {quantize.Stream{In: in, Out: strings.TrimSuffix(in, ".onnx") + ".onnx.data", Half: model.Float16}, onnx.ErrSource},
		"GPTQ":          {quantize.Stream{In: in, Out: filepath.Join(dir, "out"), WeightOnly: &quantize.WeightOnly{Algorithm: quantize.HQQ}}, model.ErrUnsupported},
		"no folder":     {quantize.Stream{In: in, Out: filepath.Join(dir, "none", "out"), Half: model.Float16}, os.ErrNotExist},
		"no input":      {quantize.Stream{In: filepath.Join(dir, "none"), Out: filepath.Join(dir, "out"), Half: model.Float16}, os.ErrNotExist},
		"no such type":  {quantize.Stream{In: in, Out: filepath.Join(dir, "out"), Half: model.Int8}, nil},
		"no such group": {quantize.Stream{In: in, Out: filepath.Join(dir, "out"), WeightOnly: &quantize.WeightOnly{Group: 5}}, nil},
	} {
		if _, err := c.s.Run(context.Background()); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	tight := quantize.Stream{In: in, Out: filepath.Join(dir, "out"), Half: model.Float16, Memory: 20 << 20}
	if p, err := tight.Plan(context.Background()); !errors.Is(err, quantize.ErrMemory) || p.MemoryBytes <= tight.Memory {
		t.Errorf("memory: %+v, %v", p, err)
	}
	tight.Memory = 64 << 20 // enough
	if p, err := tight.Plan(context.Background()); err != nil || p.MemoryBytes > tight.Memory || p.Seconds <= 0 || p.SecondsMost < p.Seconds || p.FreeMemory != tight.Memory {
		t.Errorf("memory: %+v, %v", p, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (quantize.Stream{In: in, Out: filepath.Join(dir, "out"), Half: model.Float16}).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	leftovers(t, dir)
}
