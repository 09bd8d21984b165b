//go:build unix

package kernel

import (
	"math/rand/v2"
	"testing"
)

// stressCall is one product or convolution with its right answer, which the kernels that are tested have no part in.
type stressCall struct {
	name string
	run  func(p *Pool, c []float32)
	want []float32
}

// twin is what f writes at the level of Go alone.
func twin(n int, f func(p *Pool, c []float32)) []float32 {
	defer Limit(Generic)()
	c := make([]float32, n)
	f(nil, c)
	return c
}

// stressCalls are calls of every family of kernels whose panels, rows and edges differ; some are spread over threads.
func stressCalls(t *testing.T, r *rand.Rand) []stressCall {
	var out []stressCall
	add := func(name string, want []float32, f func(p *Pool, c []float32)) {
		out = append(out, stressCall{name, f, want})
	}
	for i := range 12 {
		m, n, k := 1+r.IntN(40), 1+r.IntN(130), 1+r.IntN(200)
		if i%3 == 0 {
			m, n, k = 64+r.IntN(64), 128+r.IntN(200), 128+r.IntN(200) // large enough to be spread over threads
		}
		stressGemms(r, m, n, k, add)
		stressNBits(t, r, add)
		stressConvs(r, add)
	}
	return out
}

// stressGemms adds products in float32, half precision, bfloat16 and int8, packed and not: the answers are chains of fused multiply-adds per
// element for floats, sums of integers for int8, and the Go twin's for bfloat16, whose additions have an order of their own.
func stressGemms(r *rand.Rand, m, n, k int, add func(string, []float32, func(*Pool, []float32))) {
	g := gemmCase{m: m, n: n, k: k, a: randSlice(r, m*k), b: randSlice(r, k*n), c: make([]float32, m*n), lda: k, ldb: n, ldc: n}
	a, b := g.a, g.b
	w, want := PackF32(k, n, b, n, false), g.want()
	add("packed", want, func(p *Pool, c []float32) { GemmF32(p, m, a, k, w, c, n, Epilogue{}) })
	add("plain", want, func(p *Pool, c []float32) { MatMulF32(p, m, n, k, a, k, false, b, n, false, c, n, Epilogue{}) })
	h, wide := halfSlice(BF16, b)
	g.b = wide
	wh := PackHalf(BF16, k, n, h, n, false)
	add("half", g.want(), func(p *Pool, c []float32) { GemmHalf(p, m, a, k, wh, c, n, Epilogue{}) })
	if BF16Fast() { // else it is the Go twin: no assembly to interrupt, and ten minutes of it under the race detector
		pairs := Active().pairsBF16() // at Generic, too, which is the level of the twin
		f := func(p *Pool, c []float32) { gemmBF16(p, pairs, m, a, k, wh, c, n, Epilogue{}) }
		add("bf16", twin(m*n, f), f)
	}
	q, scale := make([]int8, k*n), make([]float32, n)
	for i := range q {
		q[i] = int8(r.IntN(255) - 127)
	}
	for i := range scale {
		scale[i] = 0.01 * r.Float32()
	}
	w8 := PackS8(k, n, q, n, false)
	products := make([]float32, m*n)
	g.dynQuant(products, q, scale, nil)
	add("int8", products, func(p *Pool, c []float32) { DynQuantGemm(p, m, a, k, w8, scale, nil, c, n, Epilogue{}) })
}

// stressNBits adds a product with weights in blocks. Levels add its floats in different orders: the answer is the first one, checked against the
// formula.
func stressNBits(t *testing.T, r *rand.Rand, add func(string, []float32, func(*Pool, []float32))) {
	c := randNBitsCase(r)
	want := c.run(nil)
	if err := c.check(want); err != nil {
		t.Errorf("blocks of %d bits: %v", c.b.Bits, err)
	}
	add("nbits", want, func(p *Pool, y []float32) { copy(y, c.run(p)) })
}

// stressConvs adds convolutions: plain and quantized ones by their definition, a blocked one by the Go twin, which TestConvBlocked compares with
// the definition.
func stressConvs(r *rand.Rand, add func(string, []float32, func(*Pool, []float32))) {
	block := randBlockCase(r)
	blocks := func(p *Pool, y []float32) { copy(y, block.run(p)) }
	add("blocked convolution", twin(block.n*ceilDiv(block.cout, ChannelBlock)*ChannelBlock*block.g.OH*block.g.OW, blocks), blocks)
	g, m, c := randomWindow(r), 1+r.IntN(20), 1+r.IntN(6)
	w, x := randSlice(r, m*c*g.KH*g.KW), randSlice(r, c*g.H*g.W)
	add("convolution", naiveConv(m, w, c, x, &g), func(p *Pool, y []float32) { ConvF32(p, m, w, c, x, &g, y, Epilogue{}) })
	cfg, window, batch := randomConv(r)
	bytes := make([]uint8, batch*window.H*window.W*cfg.Cin)
	for i := range bytes {
		bytes[i] = uint8(r.IntN(256))
	}
	conv := NewConvU8(cfg)
	floats := func(y []float32, b []uint8) {
		for i, v := range b {
			y[i] = float32(v)
		}
	}
	want := make([]float32, batch*window.OH*window.OW*cfg.Cout)
	floats(want, convByDefinition(&cfg, batch, window, bytes))
	add("int8 convolution", want, func(p *Pool, y []float32) {
		b := make([]uint8, len(y))
		conv.Run(p, batch, window, bytes, b)
		floats(y, b)
	})
}
