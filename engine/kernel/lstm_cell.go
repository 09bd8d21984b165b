package kernel

// LSTMCell does one LSTM step where nobody asks for the activations. gates [b,4h] holds the pre-activations W x + R h + Wb + Rb in ONNX
// order i, o, f, c. Then c = sigmoid(f) cPrev + sigmoid(i) tanh(g), the sum fused, and h = sigmoid(o) tanh(c), all [b,h]; both products are one
// quotient of the numerators and denominators of their factors. c may be cPrev.
//
// Exponentials are within 2 ULP, so that a numerator is within 4, a denominator within 3 and a quotient of two products within 16: with
// u = 2^-24, c is within u (32 |ig| + 16 |f cPrev| + |c|) of the exact one, h within u 32 |h| of that of the c given; 2^-148 comes on top where
// an exponential or a product is subnormal.
func LSTMCell(gates, cPrev, c, h []float32, b, hSize int) {
	checkRows(b, hSize, cPrev, c, h)
	checkRows(b, 4*hSize, gates)
	for r := range b {
		if hSize == 0 {
			return
		}
		z, n := gates[r*4*hSize:(r+1)*4*hSize], hSize
		lstmCell(z[:n], z[n:2*n], z[2*n:3*n], z[3*n:], cPrev[r*n:(r+1)*n], c[r*n:(r+1)*n], h[r*n:(r+1)*n])
	}
}

// LSTMUnits is LSTMCell for units from to from+n of one batch entry: gates has length 4h, cPrev, c and h have length h, and
// what other units hold is not touched. It gives the bits of LSTMCell.
func LSTMUnits(gates, cPrev, c, h []float32, from, n int) {
	hSize := len(h)
	checkRows(1, hSize, cPrev, c, h)
	checkRows(1, 4*hSize, gates)
	if from < 0 || n < 0 || from+n > hSize {
		panic(badShape)
	}
	if n == 0 {
		return
	}
	zi, zo, zf, zg := gates[from:][:n], gates[hSize+from:][:n], gates[2*hSize+from:][:n], gates[3*hSize+from:][:n]
	lstmCell(zi, zo, zf, zg, cPrev[from:][:n], c[from:][:n], h[from:][:n])
}

// lstmCell is one LSTM step of some units of one batch entry.
func lstmCell(zi, zo, zf, zg, p, cn, hn []float32) {
	if n := lstmCellWide(zi, zo, zf, zg, p, cn, hn); n == len(hn) {
		return
	} else if n > 0 {
		zi, zo, zf, zg, p, cn, hn = zi[n:], zo[n:], zf[n:], zg[n:], p[n:], cn[n:], hn[n:]
	}
	if !lstmCellVec(&zi[0], &zo[0], &zf[0], &zg[0], &p[0], &cn[0], &hn[0], len(hn)) {
		lstmCellGo(zi, zo, zf, zg, p, cn, hn)
	}
}

// lstmCellGo is the Go twin of the assembly.
func lstmCellGo(zi, zo, zf, zg, p, cn, hn []float32) {
	for j := range hn {
		in, id := sigmoidParts(zi[j])
		gn, gd := tanhParts(zg[j])
		fn, fd := sigmoidParts(zf[j])
		cn[j] = Fma32(fn/fd, p[j], float32(in*gn)/float32(id*gd))
		on, od := sigmoidParts(zo[j])
		tn, td := tanhParts(cn[j])
		hn[j] = float32(on*tn) / float32(od*td)
	}
}

// sigmoidParts returns numerator and denominator of sigmoid(x).
func sigmoidParts(x float32) (num, den float32) {
	z := expf(signOf(x, -1))
	if x < 0 {
		return z, z + 1
	}
	return 1, z + 1
}

// tanhParts returns numerator and denominator of tanh(x) = -e/(e+2) with e = exp(-2|x|)-1 and the sign of x.
func tanhParts(x float32) (num, den float32) {
	t := signOf(x, -1)
	e := expm1Neg(t + t)
	return signOf(absf(e), x), e + 2
}
