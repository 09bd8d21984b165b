package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// bind binds inputs to a session.
func bind(t *testing.T, s engine.Session, in engine.Feed) engine.Bound {
	t.Helper()
	b, err := s.(engine.Binder).Bind(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// printed returns type, shape and elements of all tensors of a Feed by name.
func printed(t *testing.T, f engine.Feed) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, x := range f {
		if x.DType() == model.String {
			s, err := x.Strings()
			if err != nil {
				t.Fatal(name, err)
			}
			all[name] = fmt.Sprint(x.Shape(), s)
			continue
		}
		b, err := x.Bytes()
		if err != nil {
			t.Fatal(name, err)
		}
		all[name] = fmt.Sprint(x.DType(), x.Shape()) + string(b)
	}
	return all
}

// spoil writes over what belongs to the caller.
func spoil(f engine.Feed) {
	for _, x := range f {
		if b, err := x.Bytes(); err == nil {
			for i := range b {
				b[i] ^= 0xff
			}
		}
	}
}

// TestBind: bound inputs give the bytes that Session.Run gives, run after run, in turn with other inputs and with runs of the session. What both give
// out stays as it is, what is written to the outputs is seen by no other run, and the inputs stay as they are.
func TestBind(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var sentences, loops, signs, consts []engine.Feed
	for _, n := range [][2]int{{2, 9}, {1, 30}, {3, 1}} {
		sentences = append(sentences, sentence(uint64(n[1]), n[0], n[1], 32))
	}
	for i := range 4 {
		loops = append(loops, engine.Feed{"n": model.Scalar(int64(i)), "x": randomTensor(r, 1, 5, 24)})
		x := make([]float32, 32*6)
		for k := range x {
			x[k] = float32(2*(i%2)-1) * (0.1 + r.Float32())
		}
		signs = append(signs, engine.Feed{"x": model.FromSlice([]int{32, 6}, x)})
		consts = append(consts, engine.Feed{"x": randomTensor(r, 1, 3), "cond": model.Scalar(i%2 == 0)})
	}
	// an input that is passed on, two outputs in one memory, and the elements above 0, of which there is another number for every input
	b := newBuilder(3, 17)
	x := b.input("x", model.Float32, model.Shape{{Size: 32}, {Size: 6}})
	twice := b.node("Add", []string{x, x})
	for _, name := range []string{x, twice, b.node("Reshape", []string{twice, b.ints(6, -1)}), b.node("NonZero", []string{b.node("Relu", []string{x})}), b.node("Identity", []string{x})} {
		b.output(name)
	}
	for i := range 2 { // some of each sign
		some := randomTensor(r, 1, 32, 6)
		signs = append(signs[:4+i], engine.Feed{"x": some})
	}
	for name, c := range map[string]planned{
		"transformer":      {g: func() *model.Graph { return transformer(4, 4, 8, 3, false) }, feeds: sentences},
		"loop":             {g: func() *model.Graph { return loopOfBlocks(rand.New(rand.NewPCG(1, 2)), 5, 24) }, feeds: loops},
		"branches":         {g: branching, feeds: signs},
		"two outputs":      {g: func() *model.Graph { return outputs("z1 z2", "Identity", "Neg") }, feeds: signs},
		"reshaped outputs": {g: func() *model.Graph { return outputs("z1 z2", "Flatten", "Neg") }, feeds: signs},
		"aliases":          {g: func() *model.Graph { return outputs("z1 b same flat", "Identity", "Neg") }, feeds: signs},
		"passed on":        {g: func() *model.Graph { return b.g }, feeds: signs},
		"constants":        {g: passingOn, feeds: consts},
	} {
		for _, o := range []engine.Options{{Threads: 2}, {Threads: 1, NoFusion: true}, {Threads: 1, Skip: []string{"memory"}}, {Threads: 1, Memory: 1 << 20}} {
			t.Run(fmt.Sprint(name, " ", o.Threads, o.NoFusion, o.Skip, o.Memory), func(t *testing.T) { c.bound(t, o) })
		}
	}
}

func (c planned) bound(t *testing.T, o engine.Options) {
	s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: c.g()}, o)
	if err != nil {
		t.Fatal(err)
	}
	var bounds []engine.Bound
	var want, inputs []map[string]string
	for _, f := range c.feeds {
		out, err := s.Run(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		want, inputs, bounds = append(want, printed(t, out)), append(inputs, printed(t, f)), append(bounds, bind(t, s, f))
	}
	type result struct {
		of  int
		out engine.Feed
	}
	var given []result
	r := rand.New(rand.NewPCG(9, 10))
	ran := make([]bool, len(bounds))
	for k := range 80 {
		i := r.IntN(len(bounds))
		if k >= 50 { // the same again and again
			i = len(bounds) - 1
		}
		switch r.IntN(4) {
		case 0:
			out, err := s.Run(t.Context(), c.feeds[i])
			if err != nil {
				t.Fatal(err)
			}
			given = append(given, result{i, out})
		case 1, 2:
			if err := bounds[i].Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			ran[i] = true
		}
		if j := r.IntN(len(bounds)); ran[j] {
			out, err := bounds[j].Outputs()
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(printed(t, out), want[j]) {
				t.Fatalf("step %d: input %d gives something else", k, j)
			}
			if k%3 == 0 {
				spoil(out)
			} else {
				given = append(given, result{j, out})
			}
		}
	}
	for i, f := range c.feeds {
		if !maps.Equal(printed(t, f), inputs[i]) {
			t.Errorf("input %d was written", i)
		}
	}
	if err := bounds[0].Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, g := range given {
		if !maps.Equal(printed(t, g.out), want[g.of]) {
			t.Errorf("an output of input %d changed later", g.of)
		}
	}
}

// TestBindGrows: outputs whose sizes change from run to run, and such as an operator owns, are those of the last run.
func TestBindGrows(t *testing.T) {
	n := 0
	grow := func(c *engine.Call) error {
		y, err := engine.Out[float32](c, 0, []int{[]int{3, 3, 1000, 1000, 7, 0, 50000, 3}[n%8]})
		for i := range y {
			y[i] = float32(n*i + n)
		}
		n++
		return err
	}
	b := newBuilder(2, 17)
	x := b.input("x", model.Float32, model.Shape{{Size: 1}})
	b.g.Nodes = append(b.g.Nodes, &model.Node{Op: "Grow", Domain: "test", Inputs: []string{x}, Outputs: []string{"grown"}})
	b.output("grown")
	b.output(b.node("Neg", []string{"grown"}))
	s := load(t, b.g, engine.Options{Threads: 1, Ops: map[string]engine.OpFunc{"test::Grow": grow}})
	bound := bind(t, s, engine.Feed{"x": model.FromSlice([]int{1}, []float32{1})})
	for k := range 40 {
		if err := bound.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		out, err := bound.Outputs()
		if err != nil {
			t.Fatal(err)
		}
		y, z := floatsOf(t, out["grown"]), floatsOf(t, out[b.g.Outputs[1].Name])
		if want := []int{3, 3, 1000, 1000, 7, 0, 50000, 3}[k%8]; len(y) != want || len(z) != want {
			t.Fatalf("run %d gives %d and %d elements, want %d", k, len(y), len(z), want)
		}
		for i := range y {
			if y[i] != float32(k*i+k) || z[i] != -y[i] {
				t.Fatalf("run %d: element %d is %g and %g, want %d", k, i, y[i], z[i], k*i+k)
			}
		}
	}
}

// TestBindErrors: Bind refuses what Run refuses, a run that fails leaves no outputs and the next one works, and after Close every call says why it fails.
func TestBindErrors(t *testing.T) {
	b := newBuilder(1, 13)
	x := b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: 3}})
	b.output(b.node("Add", []string{x, b.weight(1, 3)}))
	s := load(t, b.g, engine.Options{Threads: 1})
	good := engine.Feed{"x": randomTensor(b.r, 1, 2, 3)}
	for want, in := range map[string]engine.Feed{
		`input "x" is missing`:     {},
		`no input "y"`:             {"x": good["x"], "y": good["x"]},
		`input "x" has type int64`: {"x": model.FromSlice([]int{2, 3}, make([]int64, 6))},
		`input "x" has shape [6]`:  {"x": model.FromSlice([]int{6}, make([]float32, 6))},
		`input "x" is nil`:         {"x": nil},
	} {
		_, plain := s.Run(t.Context(), in)
		if _, err := s.(engine.Binder).Bind(in); err == nil || !strings.Contains(err.Error(), want) || err.Error() != plain.Error() {
			t.Errorf("error %v, that of Run is %v, want one with %q", err, plain, want)
		}
	}
	bad := bind(t, s, engine.Feed{"x": model.FromSlice([]int{2, 4}, make([]float32, 8))})
	if err := bad.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "(Add)") {
		t.Errorf("a run with wrong sizes: %v", err)
	}
	one, two := bind(t, s, good), bind(t, s, good)
	says := func(what string, b engine.Bound, want string) {
		t.Helper()
		_, err := b.Outputs()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("outputs %s: %v", what, err)
		}
		if want == "have no outputs" {
			return
		}
		if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("run %s: %v", what, err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("close %s: %v", what, err)
		}
	}
	says("before a run", one, "have no outputs")
	if err := one.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := one.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
	says("after a cancelled run", one, "have no outputs")
	for range 3 {
		if err := one.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := one.Outputs(); err != nil {
		t.Error(err)
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	says("after Close", one, "inputs are closed")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	says("after Close of the session", two, "session is closed")
	if _, err := s.(engine.Binder).Bind(good); err == nil || !strings.Contains(err.Error(), "session is closed") {
		t.Errorf("Bind after Close of the session: %v", err)
	}

	s = load(t, outputs("seq z2", "Identity", "Neg"), engine.Options{Threads: 1})
	seq := bind(t, s, engine.Feed{"x": randomTensor(b.r, 1, 32, 6)})
	if err := seq.Run(t.Context()); !errors.Is(err, model.ErrUnsupported) || !strings.Contains(err.Error(), `"seq"`) {
		t.Errorf("an output that is a sequence: %v", err)
	}
}

// TestBindConcurrent: several bound inputs of one session at once, beside runs of the session, give the bits that they give alone; Close of the
// session waits for their runs.
func TestBindConcurrent(t *testing.T) {
	g := transformer(4, 4, 8, 2, false)
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	var wg, runs sync.WaitGroup
	stop := make(chan bool)
	for k := range 6 {
		feed := sentence(uint64(k), 1+k%3, 3+5*k, 32)
		out, err := s.Run(t.Context(), feed)
		if err != nil {
			t.Fatal(err)
		}
		want := printed(t, out)
		b := bind(t, s, feed)
		runs.Add(1)
		wg.Go(func() {
			for i := range 30 {
				err := b.Run(t.Context())
				if k%3 == 2 {
					out, err = s.Run(t.Context(), feed)
				} else if err == nil {
					out, err = b.Outputs()
				}
				if err != nil {
					t.Error(err)
					break
				}
				if !maps.Equal(printed(t, out), want) {
					t.Errorf("input %d, run %d gives something else", k, i)
					break
				}
			}
			runs.Done()
			for err := error(nil); err == nil; err = b.Run(t.Context()) { // until the session is closed
				select {
				case <-stop:
					t.Errorf("input %d still runs", k)
					return
				default:
				}
			}
		})
	}
	runs.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	defer close(stop)
	wg.Wait()
}
