package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Tolerances of a float output: |got - want| <= atol + rtol |want|, as the ONNX backend tests have them.
const (
	rtol = 1e-3
	atol = 1e-7
)

// Outcome is the result of one test.
type Outcome struct {
	Name   string
	Tier   int
	Random bool  // only shapes and types were compared
	Exotic bool  // uses a float type of 8 bits or less, a type below 8 bits, or complex numbers
	Err    error // nil when the test passes
	Panic  bool
}

// Run runs one test; a panic is a failure.
func Run(c *Case, o engine.Options) (out Outcome) {
	out = Outcome{Name: c.Name, Tier: Tiers, Random: random(c.Name)}
	defer func() {
		if r := recover(); r != nil {
			out.Err, out.Panic = fmt.Errorf("panic: %v\n%s", r, debug.Stack()), true
		}
		if out.Err != nil && strings.Contains(out.Err.Error(), "internal error:") {
			out.Panic = true
		}
	}()
	g, err := onnx.Parse(c.Model, onnx.Options{})
	if err != nil {
		out.Err = err
		return out
	}
	out.Tier = tierOf(g, tierTable())
	in := map[string]any{}
	for i, v := range g.Inputs {
		out.Exotic = out.Exotic || exotic(v.Type.DType)
		if i < len(c.Inputs) && c.Inputs[i] != nil {
			if in[v.Name], err = decode(v, c.Inputs[i]); err != nil {
				out.Err = fmt.Errorf("input %q: %w", v.Name, err)
				return out
			}
		}
	}
	for _, v := range g.Outputs {
		out.Exotic = out.Exotic || exotic(v.Type.DType)
	}
	p, err := engine.Compile(g, o)
	if err != nil {
		out.Err = err
		return out
	}
	got, err := p.Exec(context.Background(), nil, in)
	if err != nil {
		out.Err = err
		return out
	}
	for i, v := range g.Outputs {
		if i >= len(c.Outputs) {
			break
		}
		want, err := decode(v, c.Outputs[i])
		if err != nil {
			out.Err = fmt.Errorf("output %q: %w", v.Name, err)
			return out
		}
		if err := compare(got[v.Name], want, out.Random); err != nil {
			out.Err = fmt.Errorf("output %q: %w", v.Name, err)
			return out
		}
	}
	return out
}

func exotic(d model.DType) bool {
	return d.IsFloat() && d.Bits() <= 8 || d.Bits() > 0 && d.Bits() < 8 || d == model.Complex64 || d == model.Complex128
}

// compare compares two values of a test.
func compare(got, want any, loose bool) error {
	switch w := want.(type) {
	case nil:
		if got != nil {
			return fmt.Errorf("is %T, want an empty optional", got)
		}
		return nil
	case []*model.Tensor:
		g, ok := got.([]*model.Tensor)
		if !ok || len(g) != len(w) {
			return fmt.Errorf("is %T of %d, want a sequence of %d", got, len(g), len(w))
		}
		for i := range w {
			if err := compareTensors(g[i], w[i], loose); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		return nil
	case *model.Tensor:
		g, ok := got.(*model.Tensor)
		if !ok || g == nil {
			return fmt.Errorf("is %T, want a tensor", got)
		}
		return compareTensors(g, w, loose)
	}
	return fmt.Errorf("unknown kind %T", want)
}

func compareTensors(g, w *model.Tensor, loose bool) error {
	if g.DType() != w.DType() {
		return fmt.Errorf("type %s, want %s", g.DType(), w.DType())
	}
	if fmt.Sprint(g.Shape()) != fmt.Sprint(w.Shape()) {
		return fmt.Errorf("shape %v, want %v", g.Shape(), w.Shape())
	}
	if loose {
		return nil
	}
	if w.DType() == model.String {
		a, err := g.Strings()
		if err != nil {
			return err
		}
		b, err := w.Strings()
		if err != nil {
			return err
		}
		for i := range b {
			if a[i] != b[i] {
				return fmt.Errorf("element %d is %q, want %q", i, a[i], b[i])
			}
		}
		return nil
	}
	if !w.DType().IsFloat() {
		a, err := g.Bytes()
		if err != nil {
			return err
		}
		b, err := w.Bytes()
		if err != nil {
			return err
		}
		if string(a) == string(b) {
			return nil
		}
	}
	a, err := engine.Float64s(g)
	if err != nil {
		return err
	}
	b, err := engine.Float64s(w)
	if err != nil {
		return err
	}
	bad, first := 0, ""
	for i, y := range b {
		x := a[i]
		if w.DType().IsFloat() {
			if x == y || x != x && y != y || !math.IsInf(x, 0) && !math.IsInf(y, 0) && math.Abs(x-y) <= atol+rtol*math.Abs(y) {
				continue
			}
		} else if x == y {
			continue
		}
		if bad++; bad == 1 {
			first = fmt.Sprintf("element %d is %v, want %v", i, x, y)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d elements differ: %s", bad, len(b), first)
	}
	return nil
}

// Score counts outcomes by tier; index 0 is unused.
type Score struct {
	Tests, Pass, Random, Exotic, ExoticPass, Panics [Tiers + 1]int
	Unsupported                                     [Tiers + 1]int
}

// Tally counts outcomes.
func Tally(list []Outcome) Score {
	var s Score
	for _, o := range list {
		t := o.Tier
		s.Tests[t]++
		if o.Random {
			s.Random[t]++
		}
		if o.Exotic {
			s.Exotic[t]++
		}
		if o.Panic {
			s.Panics[t]++
		}
		switch {
		case o.Err == nil:
			s.Pass[t]++
			if o.Exotic {
				s.ExoticPass[t]++
			}
		case errors.Is(o.Err, model.ErrUnsupported):
			s.Unsupported[t]++
		}
	}
	return s
}

// Write prints the score as a table beside that of ONNX Runtime.
func (s Score) Write(w io.Writer) error {
	_, err := fmt.Fprintln(w, "| tier | tests | pass | of core types | not supported | wrong or error | panics | ONNX Runtime 1.32.0 |\n|---|---|---|---|---|---|---|---|")
	var all [7]int
	row := func(name string, v [7]int) {
		if err == nil {
			_, err = fmt.Fprintf(w, "| %s | %d | %d | %d of %d | %d | %d | %d | %d |\n", name, v[0], v[1], v[2], v[3], v[4], v[0]-v[1]-v[4], v[5], v[6])
		}
	}
	random := 0
	for t := 1; t <= Tiers; t++ {
		v := [7]int{s.Tests[t], s.Pass[t], s.Pass[t] - s.ExoticPass[t], s.Tests[t] - s.Exotic[t], s.Unsupported[t], s.Panics[t], Baseline[t]}
		for i := range v {
			all[i] += v[i]
		}
		random += s.Random[t]
		row(fmt.Sprintf("T%d", t), v)
	}
	row("all", all)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\nIn %d tests (names with bernoulli, training_dropout or seed) only shapes and types are compared: their outputs are random.\n", random)
	return err
}
