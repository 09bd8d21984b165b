package kernel

const (
	badShape    = "kernel: negative dimension"
	badA        = "kernel: slice a is shorter than its shape, or lda is too small"
	badB        = "kernel: slice b is shorter than its shape, or ldb is too small"
	badC        = "kernel: slice c is shorter than its shape, or ldc is too small"
	badBias     = "kernel: bias has the wrong length"
	badBiasM    = "kernel: row bias has the wrong length"
	badResidual = "kernel: residual is shorter than its shape, or LdR is too small"
	badScale    = "kernel: scale has the wrong length"
	badZero     = "kernel: zero point has the wrong length"
	badLen      = "kernel: slices differ in length"
)

// fits tells whether a row-major rows x cols matrix with leading dimension ld fits in n elements.
func fits(n, rows, cols, ld int) bool {
	return rows == 0 || cols == 0 || (ld >= cols && (rows-1)*ld+cols <= n)
}

func checkA(n, m, k, lda int) {
	if m < 0 || k < 0 {
		panic(badShape)
	}
	if !fits(n, m, k, lda) {
		panic(badA)
	}
}

func checkB(n, k, cols, ldb int, trans bool) {
	if k < 0 || cols < 0 {
		panic(badShape)
	}
	if trans {
		k, cols = cols, k
	}
	if !fits(n, k, cols, ldb) {
		panic(badB)
	}
}

func checkC(n, m, cols, ldc int) {
	if m < 0 || cols < 0 {
		panic(badShape)
	}
	if !fits(n, m, cols, ldc) {
		panic(badC)
	}
}

func (e *Epilogue) check(m, n int) {
	if e.Bias != nil && len(e.Bias) != n {
		panic(badBias)
	}
	if e.BiasM != nil && len(e.BiasM) != m {
		panic(badBiasM)
	}
	if e.Residual != nil && !fits(len(e.Residual), m, n, e.LdR) {
		panic(badResidual)
	}
}
