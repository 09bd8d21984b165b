package kernel

import "math"

// AdamWParams are the constants of one AdamW step (Loshchilov and Hutter, "Decoupled Weight Decay Regularization").
// Step counts from 1; it sets the bias corrections 1-Beta^Step.
type AdamWParams struct {
	LR, Beta1, Beta2, Eps, WeightDecay float32
	Step                               int
}

// AdamW updates the weights w and the moments m and v from the gradient g, all of one length:
//
//	m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
//	w = w (1 - lr wd) - lr/(1-b1^t) * m / (sqrt(v/(1-b2^t)) + eps)
//
// The second term of each sum is fused. The scalars are computed in float64 and rounded once.
func AdamW(w, g, m, v []float32, p AdamWParams) {
	n := len3(w, g, m)
	if len(v) != n {
		panic(badVecLen)
	}
	b1, b2, lr := float64(p.Beta1), float64(p.Beta2), float64(p.LR)
	a1, a2 := float32(1-b1), float32(1-b2)
	decay := float32(1 - float64(lr*float64(p.WeightDecay)))
	step := float32(-lr / (1 - powInt(b1, p.Step)))
	vs := float32(1 / (1 - powInt(b2, p.Step)))
	if n == 0 || adamWVec(&w[0], &g[0], &m[0], &v[0], n, p.Beta1, a1, p.Beta2, a2, vs, p.Eps, decay, step) {
		return
	}
	for i, gi := range g {
		m[i] = Fma32(a1, gi, p.Beta1*m[i])
		v[i] = Fma32(a2*gi, gi, p.Beta2*v[i])
		w[i] = Fma32(step, m[i]/(sqrtf(v[i]*vs)+p.Eps), w[i]*decay)
	}
}

// SGD updates w from the gradient g with momentum and decoupled weight decay: v = mu v + g, then
// w = w (1 - lr wd) - lr v (fused). velocity may be nil when mu is 0.
func SGD(w, g, velocity []float32, lr, mu, decay float32) {
	n := len2(w, g)
	if velocity != nil {
		if len(velocity) != n {
			panic(badVecLen)
		}
		if n > 0 {
			MulS(velocity, velocity, mu)
			Add(velocity, velocity, g)
		}
		g = velocity
	} else if mu != 0 {
		panic(badVecLen)
	}
	if d := float32(1 - float64(float64(lr)*float64(decay))); d != 1 {
		MulS(w, w, d)
	}
	Axpy(-lr, g, w)
}

// powInt returns b^n for n >= 0 by repeated squaring, each product rounded to float64.
func powInt(b float64, n int) float64 {
	r := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			r = float64(r * b)
		}
		b = float64(b * b)
	}
	return r
}

// ClipScale returns the factor that brings a gradient of squared norm sq (SumSquares64, added up over tensors in a
// fixed order) down to the norm limit: min(1, limit/sqrt(sq)).
func ClipScale(sq float64, limit float32) float32 {
	norm := math.Sqrt(sq)
	if norm <= float64(limit) {
		return 1
	}
	return float32(float64(limit) / norm)
}
