package kernel

// Activation is the function applied last in an Epilogue.
type Activation int

// Activations. x is the element before.
const (
	ActNone        Activation = iota
	ActRelu                   // max(x, 0)
	ActGeluErf                // x/2 * (1 + erf(x/sqrt 2))
	ActGeluTanh               // x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
	ActSiLU                   // x * sigmoid(x)
	ActTanh                   // tanh(x)
	ActSigmoid                // 1 / (1 + exp(-x))
	ActClip6                  // min(max(x, 0), 6)
	ActHardSwish              // x * min(max(x/6 + 1/2, 0), 1)
	ActHardSigmoid            // min(max(alpha x + beta, 0), 1): of blocked convolutions alone
)

// Epilogue is what happens to the elements of a product while they are in the cache. With s the sum of the chains of fused
// multiply-adds, C[i,j] = Act(Alpha*s + BiasM[i] + Bias[j] + Residual[i,j]): each operation that is asked for is
// rounded to float32, in that order. The zero value stores s.
type Epilogue struct {
	Bias       []float32 // per column, length N, or nil
	BiasM      []float32 // per row, length M (convolution), or nil
	Residual   []float32 // [M,N] with leading dimension LdR, or nil; must not overlap C
	LdR        int
	Act        Activation
	Accumulate bool    // the first chain is added to C (and Alpha scales all of it)
	Alpha      float32 // 0 means 1
}

// plain tells that there is nothing to do.
func (e *Epilogue) plain() bool {
	return e.Bias == nil && e.BiasM == nil && e.Residual == nil && e.Act == ActNone && (e.Alpha == 0 || e.Alpha == 1)
}

// applyGo is the Go twin of the assembly epilogue, without the activation: rows i0..i1, columns j0..j1 of c.
func (e *Epilogue) applyGo(c []float32, ldc, i0, i1, j0, j1 int) {
	alpha := e.Alpha
	if alpha == 0 {
		alpha = 1
	}
	for i := i0; i < i1; i++ {
		row := c[i*ldc+j0 : i*ldc+j1]
		if alpha != 1 {
			for j := range row {
				row[j] = float32(alpha * row[j])
			}
		}
		if e.BiasM != nil {
			b := e.BiasM[i]
			for j := range row {
				row[j] += b
			}
		}
		if e.Bias != nil {
			for j, b := range e.Bias[j0:j1] {
				row[j] += b
			}
		}
		if e.Residual != nil {
			for j, r := range e.Residual[i*e.LdR+j0 : i*e.LdR+j1] {
				row[j] += r
			}
		}
	}
}

// activate applies act to every element of x; the functions are those of the same name in this package.
func activate(act Activation, x []float32) {
	switch act {
	case ActNone:
	case ActRelu:
		for i, v := range x {
			if !(v > 0) && v == v {
				x[i] = 0
			}
		}
	case ActClip6:
		for i, v := range x {
			x[i] = min(max(v, 0), 6)
		}
	case ActHardSwish:
		HardSwish(x, x)
	case ActGeluErf:
		GeluErf(x, x)
	case ActGeluTanh:
		GeluTanh(x, x)
	case ActSiLU:
		SiLU(x, x)
	case ActTanh:
		Tanh(x, x)
	case ActSigmoid:
		Sigmoid(x, x)
	default:
		panic("kernel: unknown activation")
	}
}

// activateRows applies the activation to rows i0..i1, columns j0..j1 of c.
func (e *Epilogue) activateRows(c []float32, ldc, i0, i1, j0, j1 int) {
	if e.Act == ActNone {
		return
	}
	for i := i0; i < i1; i++ {
		activate(e.Act, c[i*ldc+j0:i*ldc+j1])
	}
}
