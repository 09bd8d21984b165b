package kernel

import (
	"math/rand/v2"
	"testing"
)

func benchInput(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// BenchmarkVec reports ns per call on every instruction set; n is the number of elements of the main operand and the
// throughput counts its bytes once.
func BenchmarkVec(b *testing.B) {
	x, y, z := benchInput(1<<16), benchInput(1<<16), benchInput(1<<16)
	out, row := make([]float32, 1<<16), benchInput(3072)
	mean, inv := make([]float32, 512), make([]float32, 512)
	half := make([]uint16, 1<<16)
	unary := func(f func(d, s []float32)) func() { return func() { f(out[:4096], x[:4096]) } }
	for _, c := range []struct {
		name string
		n    int
		f    func()
	}{
		{"Exp", 4096, unary(Exp)}, {"Log", 4096, unary(Log)}, {"Tanh", 4096, unary(Tanh)}, {"Sigmoid", 4096, unary(Sigmoid)},
		{"Erf", 4096, unary(Erf)}, {"GeluErf", 4096, unary(GeluErf)}, {"GeluTanh", 4096, unary(GeluTanh)}, {"Relu", 4096, unary(Relu)},
		{"Add", 4096, func() { Add(out[:4096], x[:4096], y[:4096]) }},
		{"Dot", 4096, func() { Dot(x[:4096], y[:4096]) }},
		{"SumSquares64", 4096, func() { SumSquares64(x[:4096]) }},
		{"SoftmaxRows128", 128 * 128, func() { SoftmaxRows(out[:128*128], x[:128*128], 128, 128, 0.125, row[:128]) }},
		{"LayerNormRows384", 128 * 384, func() {
			LayerNormRows(out[:128*384], x[:128*384], y[:128*384], z[:128*384], row[:384], row[384:768], 128, 384, 1e-5, nil, nil)
		}},
		{"LayerNormGradRows384", 128 * 384, func() {
			LayerNormGradRows(out[:128*384], z[:384], z[384:768], x[:128*384], y[:128*384], row[:384], 128, 384, mean, inv)
		}},
		{"LSTMGates128", 128, func() { copy(out, x[:512]); LSTMGates(out[:512], y[:128], z[:128], out[1024:1152], 1, 128) }},
		{"AdamW", 4096, func() {
			AdamW(out[:4096], x[:4096], y[:4096], row1(z), AdamWParams{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 3})
		}},
		{"F32ToF16", 4096, func() { F32ToF16(half[:4096], x[:4096]) }}, {"F16ToF32", 4096, func() { F16ToF32(out[:4096], half[:4096]) }},
		{"F32ToBF16", 4096, func() { F32ToBF16(half[:4096], x[:4096]) }},
		{"Transpose2D", 256 * 256, func() { Transpose2D(out, x, 256, 256) }},
	} {
		for _, isa := range floatLevels() {
			b.Run(c.name+"/"+isa.String(), func(b *testing.B) {
				defer Limit(isa)()
				b.SetBytes(int64(4 * c.n))
				for b.Loop() {
					c.f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.n), "ns/element")
			})
		}
	}
}

func row1(x []float32) []float32 {
	Abs(x[:4096], x[:4096])
	return x[:4096]
}

// BenchmarkDepthwise is a 3x3 depthwise convolution over [64,24,96], stride 1 and 2.
func BenchmarkDepthwise(b *testing.B) {
	for _, s := range []int{1, 2} {
		g := Window{H: 24, W: 96, KH: 3, KW: 3, SH: s, SW: s, DH: 1, DW: 1, Top: 1, Left: 1, Bottom: 1, End: 1}
		g.OH, g.OW = OutputSize(24, 3, s, 1, 1, 1), OutputSize(96, 3, s, 1, 1, 1)
		x, w, out := benchInput(64*24*96), benchInput(64*9), make([]float32, 64*g.OH*g.OW)
		b.Run(map[int]string{1: "stride1", 2: "stride2"}[s], func(b *testing.B) {
			for b.Loop() {
				DepthwiseConv(out, x, w, nil, 64, &g, ActNone)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(out)*9), "ns/MAC")
		})
		cols := make([]float32, 64*9*g.OH*g.OW)
		b.Run(map[int]string{1: "im2col1", 2: "im2col2"}[s], func(b *testing.B) {
			b.SetBytes(int64(4 * len(cols)))
			for b.Loop() {
				Im2Col(cols, x, 64, &g)
			}
		})
	}
}
