//go:build (amd64 || arm64) && !noasm

package kernel

import (
	"math"
	"unsafe"
)

// maskTable[16-w:] is the mask of w elements in 16.
var maskTable = [32]int32{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}

// Neutral operands of the epilogue: adding -0 changes nothing, not even the sign of a zero.
var (
	epNegZero = [16]float32{negZero, negZero, negZero, negZero, negZero, negZero, negZero, negZero,
		negZero, negZero, negZero, negZero, negZero, negZero, negZero, negZero}
	epOne     = [16]float32{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	epZeroInt [16]int32

	epNoLimits = [3]float32{float32(math.Inf(-1)), float32(math.Inf(1)), negZero}
	epRelu     = [3]float32{0, float32(math.Inf(1)), 0}
	epClip6    = [3]float32{0, 6, 0}
)

var negZero = float32(math.Copysign(0, -1))

// epilogue applies g.ep to rows i0..i1, columns j0..j1.
func (g *gemmJob) epilogue(i0, i1, j0, j1 int) {
	if g.ep.plain() || i0 == i1 || j0 == j1 {
		return
	}
	if g.isa == Generic {
		g.ep.applyGo(g.c, g.ldc, i0, i1, j0, j1)
		g.ep.activateRows(g.c, g.ldc, i0, i1, j0, j1)
		return
	}
	var args epArgs
	args.terms(g.isa, &g.ep, g.c, g.ldc, i0, i1, j0, j1)
	epilogueAsm(g.isa, &args)
	if g.ep.Act != ActRelu && g.ep.Act != ActClip6 {
		g.ep.activateRows(g.c, g.ldc, i0, i1, j0, j1)
	}
}

// terms fills in everything but the int8 fields.
func (x *epArgs) terms(isa ISA, e *Epilogue, c []float32, ldc, i0, i1, j0, j1 int) {
	x.m, x.n, x.c, x.ldc = i1-i0, j1-j0, &c[i0*ldc+j0], 4*ldc
	x.alpha, x.rowBias, x.bias, x.res, x.limits = &epOne[0], &epNegZero[0], &epNegZero[0], &epNegZero[0], &epNoLimits
	lanes := isa.lanes()
	x.tail = &maskTable[16-(j1-j0)%8]
	if e.Alpha != 0 {
		x.alpha = &e.Alpha
	}
	if e.BiasM != nil {
		x.rowBias, x.rowBiasInc = &e.BiasM[i0], 4
	}
	if e.Bias != nil {
		x.bias, x.biasInc = &e.Bias[j0], 4*lanes
	}
	if e.Residual != nil {
		x.res, x.ldr, x.resInc = &e.Residual[i0*e.LdR+j0], 4*e.LdR, 4*lanes
	}
	switch e.Act {
	case ActRelu:
		x.limits = &epRelu
	case ActClip6:
		x.limits = &epClip6
	}
}

// blockRows is the number of rows whose sums lie in scratch memory at a time, so that they are still in the cache when they are scaled.
const blockRows = 64

// block computes rows i0..i1 of panels j0..j1 with their epilogue.
func (g *int8Job) block(i0, i1, j0, j1 int) {
	if g.isa == Generic || g.b.K == 0 || i0 == i1 {
		g.blockGo(i0, i1, j0, j1)
		return
	}
	if g.c32 != nil {
		g.sums(&g.c32[i0*g.ldc+j0*PanelWidth], g.ldc, i0, i1, j0, j1, g.b.N)
		return
	}
	ld := (j1 - j0) * PanelWidth
	s := getSums((min(i1-i0, blockRows) + 2) * ld) // two rows for the terms of columns
	for i := i0; i < i1; i += blockRows {
		e := min(i1, i+blockRows)
		g.sums(&s.v[0], ld, i, e, j0, j1, j1*PanelWidth)
		g.dequantize(s.v, ld, i, e, j0*PanelWidth, min(g.b.N, j1*PanelWidth))
	}
	sumsPool.Put(s)
}

// at is the address of element i after c.
func at(c *int32, i int) *int32 { return (*int32)(unsafe.Add(unsafe.Pointer(c), 4*i)) }

var noEpilogue Epilogue

// dequantize writes rows i0..i1, columns n0..n1 of cf, epilogue included, from their sums, whose rows are ld elements apart. Two rows after the
// sums are free.
func (g *int8Job) dequantize(sums []int32, ld, i0, i1, n0, n1 int) {
	var x epArgs
	ep := &g.ep
	alpha := ep.Alpha != 0 && ep.Alpha != 1
	if alpha { // the factor's place is taken by the scale: a second pass
		ep = &noEpilogue
	}
	x.terms(g.isa, ep, g.cf, g.ldc, i0, i1, n0, n1)
	lanes := g.isa.lanes()
	x.alpha, x.alphaInc = &g.aScale[i0%len(g.aScale)], 4*min(1, len(g.aScale)-1)
	x.colSum, x.colZero, x.az, x.rowSum = &g.b.ColSum[n0], &epZeroInt[0], &epZeroInt[0], &epZeroInt[0]
	if len(g.aZero) > 0 {
		x.az, x.azInc = &g.az32[i0%len(g.az32)], 4*min(1, len(g.az32)-1)
	}
	if len(g.bZero) > 0 {
		x.colZero, x.colZeroInc = &g.bz32[n0], 4*lanes
		x.rowSum, x.rowSumInc = &g.rowSum[i0], 4
	}
	if len(g.bScale) == 1 {
		x.scale = &g.oneScale[0]
	} else {
		x.scale, x.scaleInc = &g.bScale[n0], 4*lanes
	}
	plain := len(g.aScale) == 1 && len(g.aZero) <= 1 && len(g.bZero) == 0 && ep.BiasM == nil
	free := sums[(i1-i0)*ld:]
	x.sums, x.lds = &sums[0], 4*ld
	x.colTerm, x.colFactor = &free[0], (*float32)(unsafe.Pointer(&free[ld]))
	fused := ep.Act == ActRelu || ep.Act == ActClip6
	dequantizeAsm(g.isa, &x, plain, plain && ep.Residual == nil && !fused)
	if alpha {
		f := gemmJob{c: g.cf, ldc: g.ldc, ep: g.ep, isa: g.isa}
		f.epilogue(i0, i1, n0, n1)
	} else if !fused {
		ep.activateRows(g.cf, g.ldc, i0, i1, n0, n1)
	}
}
