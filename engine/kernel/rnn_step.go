package kernel

// LSTMStep does one LSTM step for units from to from+n of one batch entry: gates, of length 4h in ONNX order i, o, f, c, holds
// the projected input with the biases; R hPrev is added to the gates of these units, and LSTMUnits follows. r is the packed
// transpose of R, [h, 4h]. from and n are multiples of PanelWidth, as h is. The result has the bits of GemmF32 with
// Accumulate and LSTMCell.
func LSTMStep(r *PackedF32, hPrev, gates, cPrev, c, h []float32, from, n int) {
	hs := len(h)
	if r.K != hs || r.N != 4*hs || hs%PanelWidth != 0 || from < 0 || n < 0 || from+n > hs || from%PanelWidth != 0 || n%PanelWidth != 0 {
		panic(badShape)
	}
	checkRows(1, hs, hPrev, cPrev, c, h)
	checkRows(1, 4*hs, gates)
	if n > 0 {
		lstmStep(r, hPrev, gates, cPrev, c, h, from, n)
	}
}

// lstmStepGo computes the products gate by gate.
func lstmStepGo(r *PackedF32, hPrev, gates, cPrev, c, h []float32, from, n int) {
	hs := len(h)
	for q := range 4 {
		at := q*hs + from
		GemmF32(nil, 1, hPrev, hs, r.Columns(at, n), gates[at:at+n], n, Epilogue{Accumulate: true})
	}
	LSTMUnits(gates, cPrev, c, h, from, n)
}
