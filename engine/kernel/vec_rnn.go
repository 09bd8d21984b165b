package kernel

// Recurrent cells on pre-activations (the caller does the matrix products). Rows are batch entries.

// LSTMGates does one LSTM step. gates [b,4h] holds the pre-activations W x + R h + Wb + Rb in ONNX order i, o, f, c
// and is overwritten with the activations i, o, f, g (sigmoid three times, tanh), which LSTMGatesGrad needs. Then
// c = f*cPrev + i*g (the sum fused) and h = o*tanh(c), all [b,h]. c may be cPrev.
func LSTMGates(gates, cPrev, c, h []float32, b, hSize int) {
	checkRows(b, hSize, cPrev, c, h)
	checkRows(b, 4*hSize, gates)
	for r := range b {
		if hSize == 0 {
			return
		}
		z, n := gates[r*4*hSize:(r+1)*4*hSize], hSize
		zi, zo, zf, zg := z[:n], z[n:2*n], z[2*n:3*n], z[3*n:4*n]
		p, cn, hn := cPrev[r*n:(r+1)*n], c[r*n:(r+1)*n], h[r*n:(r+1)*n]
		lstmUnits(zi, zo, zf, zg, p, cn, hn)
	}
}

// lstmUnits is one LSTM step of some units of one batch entry.
func lstmUnits(zi, zo, zf, zg, p, cn, hn []float32) {
	if lstmVec(&zi[0], &zo[0], &zf[0], &zg[0], &p[0], &cn[0], &hn[0], len(hn)) {
		return
	}
	for j := range hn {
		i, o, f, g := sigmoidf(zi[j]), sigmoidf(zo[j]), sigmoidf(zf[j]), tanhf(zg[j])
		zi[j], zo[j], zf[j], zg[j] = i, o, f, g
		cn[j] = Fma32(f, p[j], i*g)
		hn[j] = o * tanhf(cn[j])
	}
}

// LSTMGatesGrad is the gradient of LSTMGates. gates [b,4h] holds the activations i, o, f, g and is overwritten with the
// gradients of the pre-activations; dh [b,h] is the gradient of h; dc [b,h] is that of c from the next step and is
// overwritten with that of cPrev. With t = tanh(c):
//
//	dc += dh o (1-t^2);  dz_i = dc g i(1-i);  dz_o = dh t o(1-o);  dz_f = dc cPrev f(1-f);  dz_c = dc i (1-g^2);  dcPrev = dc f
func LSTMGatesGrad(gates, cPrev, c, dh, dc []float32, b, hSize int) {
	checkRows(b, hSize, cPrev, c, dh, dc)
	checkRows(b, 4*hSize, gates)
	for r := range b {
		if hSize == 0 {
			return
		}
		z, n := gates[r*4*hSize:(r+1)*4*hSize], hSize
		zi, zo, zf, zg := z[:n], z[n:2*n], z[2*n:3*n], z[3*n:4*n]
		p, cn, gh, gc := cPrev[r*n:(r+1)*n], c[r*n:(r+1)*n], dh[r*n:(r+1)*n], dc[r*n:(r+1)*n]
		if lstmGradVec(&zi[0], &zo[0], &zf[0], &zg[0], &p[0], &cn[0], &gh[0], &gc[0], n) {
			continue
		}
		for j := range n {
			i, o, f, g, t := zi[j], zo[j], zf[j], zg[j], tanhf(cn[j])
			d := Fma32(gh[j]*o, Fma32(negf(t), t, 1), gc[j])
			zi[j] = float32(d*g) * float32(i*(1-i))
			zo[j] = float32(gh[j]*t) * float32(o*(1-o))
			zf[j] = float32(d*p[j]) * float32(f*(1-f))
			zg[j] = float32(d*i) * Fma32(negf(g), g, 1)
			gc[j] = d * f
		}
	}
}

// GRUGates does the first half of a GRU step: zr [b,2h] holds the pre-activations of z and r (ONNX order) and is
// overwritten with their sigmoids. For linear_before_reset = 0, rh [b,h] gets r*hPrev, the input of the hidden gate's
// recurrent product; for 1, rh is nil.
func GRUGates(zr, hPrev, rh []float32, b, hSize int) {
	checkRows(b, 2*hSize, zr)
	checkRows(b, hSize, hPrev)
	Sigmoid(zr, zr)
	if rh == nil {
		return
	}
	checkRows(b, hSize, rh)
	for r := range b {
		row := func(x []float32) []float32 { return x[r*hSize : (r+1)*hSize] }
		Mul(row(rh), zr[(2*r+1)*hSize:(2*r+2)*hSize], row(hPrev))
	}
}

// GRUOutput does the second half. n [b,h] holds the pre-activation of the hidden gate and is overwritten with its
// tanh. linear is nil for linear_before_reset = 0; for 1 it holds R_h hPrev + Rb_h and n += r*linear comes first.
// Then h = n + z*(hPrev - n), fused, which is (1-z)*n + z*hPrev. h may be hPrev.
func GRUOutput(zr, n, linear, hPrev, h []float32, b, hSize int) {
	checkRows(b, 2*hSize, zr)
	checkRows(b, hSize, n, hPrev, h)
	if linear != nil {
		checkRows(b, hSize, linear)
	}
	for r := range b {
		row := func(x []float32) []float32 { return x[r*hSize : (r+1)*hSize] }
		z, rr := zr[2*r*hSize:(2*r+1)*hSize], zr[(2*r+1)*hSize:(2*r+2)*hSize]
		a := row(n)
		if linear != nil {
			MulAdd(a, rr, row(linear), a)
		}
		Tanh(a, a)
		Sub(row(h), row(hPrev), a)
		MulAdd(row(h), z, row(h), a)
	}
}

// GRUOutputGrad is the gradient of GRUOutput. zr and n hold the activations; dh [b,h] is the gradient of h and is
// overwritten with the direct part of that of hPrev (dh z). n is overwritten with the gradient of the hidden gate's
// pre-activation dn = dh (1-z)(1-n^2); dz [b,h] gets the gradient of z's pre-activation dh (hPrev-n) z(1-z).
// For linear_before_reset = 1 (linear not nil): dr [b,h] gets that of r's pre-activation dn linear r(1-r), and linear
// is overwritten with its own gradient dn r. For 0, use GRUResetGrad once the recurrent product has been undone.
func GRUOutputGrad(zr, n, linear, hPrev, dh, dz, dr []float32, b, hSize int) {
	checkRows(b, 2*hSize, zr)
	checkRows(b, hSize, n, hPrev, dh, dz)
	if linear != nil {
		checkRows(b, hSize, linear, dr)
	}
	for i := range b {
		for j := range hSize {
			k := i*hSize + j
			z, r := zr[2*i*hSize+j], zr[(2*i+1)*hSize+j]
			a, d := n[k], dh[k]
			dz[k] = float32(d*(hPrev[k]-a)) * float32(z*(1-z))
			dn := float32(d*(1-z)) * Fma32(negf(a), a, 1)
			n[k], dh[k] = dn, d*z
			if linear != nil {
				dr[k] = float32(dn*linear[k]) * float32(r*(1-r))
				linear[k] = dn * r
			}
		}
	}
}

// GRUResetGrad finishes the gradient for linear_before_reset = 0: drh [b,h] is the gradient of rh = r*hPrev; dr gets that
// of r's pre-activation drh hPrev r(1-r), and dhPrev += drh r, fused.
func GRUResetGrad(zr, hPrev, drh, dr, dhPrev []float32, b, hSize int) {
	checkRows(b, 2*hSize, zr)
	checkRows(b, hSize, hPrev, drh, dr, dhPrev)
	for i := range b {
		for j := range hSize {
			k := i*hSize + j
			r := zr[(2*i+1)*hSize+j]
			dr[k] = float32(drh[k]*hPrev[k]) * float32(r*(1-r))
			dhPrev[k] = Fma32(drh[k], r, dhPrev[k])
		}
	}
}
