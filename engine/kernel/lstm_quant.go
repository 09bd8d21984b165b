package kernel

// LSTMQuant is the recurrent part of an LSTM with int8 weights, as com.microsoft DynamicQuantizeLSTM has it, for b batch entries and h
// units. What does not change from step to step is made once. Close gives its memory back.
type LSTMQuant struct {
	b, h   int
	g      *int8Job
	states *scratchU8  // rows of the states in bytes
	floats *scratchF32 // pre-activations [b,4h], where there is no kernel for the rest of a step
	shared *scratchF32 // the scales of all columns
	scales []float32
	scale  [1]float32
	zero   [1]uint8
	back   bool // see fast
}

// NewLSTMQuant returns one for the packed transpose r [h,4h] of R. bScale and bZero are those of DynQuantGemm.
func NewLSTMQuant(b int, r *PackedS8, bScale []float32, bZero []int8) *LSTMQuant {
	hs := r.K
	if r.N != 4*hs || b < 0 {
		panic(badShape)
	}
	checkZeros(1, b, len(bZero), r.N)
	if len(bScale) != 1 && len(bScale) != r.N {
		panic(badScale)
	}
	row := (hs + 3) &^ 3
	l := &LSTMQuant{b: b, h: hs, states: getScratchU8(b * row), shared: getScratchF32(r.N)}
	l.scales = l.shared.f
	for i := range l.scales {
		l.scales[i] = bScale[0]
	}
	copy(l.scales[:min(len(bScale), r.N)], bScale)
	l.g = newInt8Job(b, l.states.b, row, r)
	l.g.ldc = r.N
	l.g.aScale, l.g.aZero, l.g.bScale, l.g.bZero = l.scale[:], l.zero[:], bScale, bZero
	if b > 0 && hs > 0 {
		l.g.terms()
	}
	return l
}

// Close gives the memory back; l is of no use then.
func (l *LSTMQuant) Close() {
	l.g.release()
	scratchPoolU8.Put(l.states)
	scratchPoolF32.Put(l.shared)
	if l.floats != nil {
		scratchPoolF32.Put(l.floats)
	}
	*l = LSTMQuant{}
}

// Step does one step: h [b,h] is quantized by scale and zero, R times it is added to the projected inputs gates [b,4h] with their biases,
// which stay as they are, and LSTMCell makes c and h, [b,h], of the sums. The result has the bits of QuantizeLinearU8, QuantGemm with gates as
// the residual, and LSTMCell.
func (l *LSTMQuant) Step(scale float32, zero uint8, gates, c, h []float32) {
	g := l.g
	checkRows(l.b, 4*l.h, gates)
	checkRows(l.b, l.h, c, h)
	if l.b == 0 || l.h == 0 {
		return
	}
	l.scale[0], l.zero[0], g.az32[0] = scale, zero, int32(zero)
	quantizeBlock(l.b, l.h, h, l.h, g.a, g.lda, scale, zero)
	if l.fast(gates, c, h) {
		return
	}
	if l.floats == nil {
		l.floats = getScratchF32(l.b * g.b.N)
		g.cf = l.floats.f
	}
	for i := range g.rowSum {
		g.rowSum[i] = sumU8(g.a[i*g.lda:][:l.h]) - int32(zero)*int32(l.h)
	}
	g.ep.Residual, g.ep.LdR = gates, 4*l.h
	for j, np := 0, panels(g.b.N); j < np; j += panelsPerTask {
		g.block(0, l.b, j, min(j+panelsPerTask, np))
	}
	LSTMCell(g.cf, c, c, h, l.b, l.h)
}
