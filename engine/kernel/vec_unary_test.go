package kernel

import (
	"math"
	"testing"
)

// TestSpecialValues holds the functions to IEEE 754 and ONNX at the edges.
func TestSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	one := func(f func(dst, src []float32)) func(x float32) float32 {
		return func(x float32) float32 {
			d := []float32{0}
			f(d, []float32{x})
			return d[0]
		}
	}
	pow := func(y float32) func(float32) float32 { return one(func(d, s []float32) { Pow(d, s, y) }) }
	clip := func(lo, hi float32) func(float32) float32 { return one(func(d, s []float32) { Clip(d, s, lo, hi) }) }
	for _, c := range []struct {
		name    string
		f       func(float32) float32
		x, want float32
	}{
		{"exp", one(Exp), inf, inf}, {"exp", one(Exp), -inf, 0}, {"exp", one(Exp), nan, nan}, {"exp", one(Exp), 0, 1}, {"exp", one(Exp), 89, inf},
		{"log", one(Log), 0, -inf}, {"log", one(Log), -1, nan}, {"log", one(Log), inf, inf}, {"log", one(Log), 1, 0}, {"log", one(Log), nan, nan},
		{"tanh", one(Tanh), inf, 1}, {"tanh", one(Tanh), -inf, -1}, {"erf", one(Erf), inf, 1}, {"erf", one(Erf), -inf, -1},
		{"sigmoid", one(Sigmoid), -inf, 0}, {"sigmoid", one(Sigmoid), inf, 1}, {"sigmoid", one(Sigmoid), nan, nan},
		{"softplus", one(Softplus), inf, inf}, {"softplus", one(Softplus), -inf, 0}, {"gelu", one(GeluErf), inf, inf}, {"gelu", one(GeluErf), 0, 0},
		{"silu", one(SiLU), inf, inf}, {"relu", one(Relu), nan, nan}, {"relu", one(Relu), -3, 0}, {"relu", one(Relu), inf, inf},
		{"hard sigmoid", one(func(d, s []float32) { HardSigmoid(d, s, 0.2, 0.5) }), -inf, 0}, {"hard swish", one(HardSwish), 3, 3},
		{"elu", one(func(d, s []float32) { Elu(d, s, 2) }), -inf, -2}, {"leaky relu", one(func(d, s []float32) { LeakyRelu(d, s, 0.5) }), -4, -2},
		{"round", one(Round), 2.5, 2}, {"round", one(Round), -3.5, -4}, {"floor", one(Floor), -0.5, -1}, {"ceil", one(Ceil), 0.5, 1},
		{"sqrt", one(Sqrt), -1, nan}, {"reciprocal", one(Reciprocal), 0, inf}, {"neg", one(Neg), 1, -1}, {"abs", one(Abs), -inf, inf},
		{"clip", clip(-1, 1), nan, nan}, {"clip", clip(-1, 1), inf, 1}, {"clip", clip(2, 1), 0, 1}, {"clip", clip(-inf, inf), 5, 5},
		{"sin", one(Sin), inf, nan}, {"cos", one(Cos), 0, 1}, {"sin", one(Sin), 1e30, float32(math.Sin(float64(float32(1e30))))},
		{"pow 2", pow(2), -3, 9}, {"pow 3", pow(3), -2, -8}, {"pow 0.5", pow(0.5), 9, 3}, {"pow 0.5", pow(0.5), -inf, inf}, {"pow -1", pow(-1), 4, 0.25},
		{"pow 0", pow(0), nan, 1}, {"pow 5", pow(5), -2, -32}, {"pow -3", pow(-3), 0, inf}, {"pow 1.5", pow(1.5), -1, nan},
		{"pow inf", pow(inf), 0.5, 0}, {"pow -inf", pow(-inf), 0.5, inf}, {"pow inf", pow(inf), -1, 1}, {"pow 4", pow(4), -inf, inf}, {"pow -5", pow(-5), -inf, 0},
	} {
		if got := c.f(c.x); got != c.want && (got == got || c.want == c.want) {
			t.Errorf("%s(%g) = %g, want %g", c.name, c.x, got, c.want)
		}
	}
}

// TestLengthPanics wants a constant string for every kind of wrong length.
func TestLengthPanics(t *testing.T) {
	x, y := make([]float32, 4), make([]float32, 5)
	for i, f := range []func(){
		func() { Exp(x, y) }, func() { Add(x, x, y) }, func() { Dot(x, y) }, func() { AddRow(y, y, x) }, func() { SoftmaxRows(x, x, 2, 3, 1, nil) },
		func() { SoftmaxRows(x, x, 2, 2, 1, y) }, func() { LayerNormRows(x, x, nil, nil, y, nil, 1, 4, 0, nil, nil) },
		func() { LSTMGates(x, x, x, x, 1, 4) }, func() { F16ToF32(x, make([]uint16, 3)) }, func() { Transpose2D(x, x, 2, 3) },
		func() { TransposeBytes(make([]byte, 4), make([]byte, 4), 1, []int{4}, []int{1}) },
		func() { GatherRowsF32(x[:2], x, 2, 2, []int64{2}) }, func() { Im2Col(x, x, 1, &Window{}) },
	} {
		func() {
			defer func() {
				if _, ok := recover().(string); !ok {
					t.Errorf("case %d: no panic with a string", i)
				}
			}()
			f()
		}()
	}
}
