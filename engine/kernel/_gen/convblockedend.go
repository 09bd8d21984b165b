package main

import "fmt"

// finish adds what y holds where the tile continues, and the residual, applies the activation and stores.
func (k blockKernel) finish(a *asm) {
	a.label("finish")
	if k.kind == "dense" {
		a.op("CMPQ %d(DI), $0", tileOff("bias"))
		a.op("JNE  sums")
		k.output(a, "y", func(at, r string) { a.op("VADDPS %s, %s, %s", at, r, r) })
		a.label("sums")
	}
	if k.kind != "max" {
		a.op("CMPQ %d(DI), $0", tileOff("more"))
		a.op("JNE  store")
		a.op("CMPQ %d(DI), $0", tileOff("res"))
		a.op("JEQ  act")
		k.output(a, "res", func(at, r string) { a.op("VADDPS %s, %s, %s", at, r, r) })
		a.label("act")
		k.activation(a)
		a.label("store")
	}
	k.output(a, "y", func(at, r string) { a.op("VMOVUPS %s, %s", r, at) })
	a.op("DECQ %d(DI)", tileOff("lines"))
	a.op("JEQ  done")
	for _, f := range [][2]string{{"xl", "x0"}, {"yl", "y0"}, {"wl", "w0"}, {"bl", "b0"}} {
		if k.kind != "depth" && f[0][0] != 'x' && f[0][0] != 'y' {
			continue
		}
		a.op("MOVQ %d(DI), AX", tileOff(f[0]))
		a.op("ADDQ AX, %d(DI)", tileOff(f[1]))
	}
	a.op("JMP  line")
	a.label("done")
	a.op("VZEROUPPER")
	a.op("RET")
}

// activation is that of the tile: see blockAct.
func (k blockKernel) activation(a *asm) {
	lim := tileOff("lim")
	each := func(f func(r string)) {
		for i := range k.p {
			for v := range k.nv() {
				f(k.acc(i, v))
			}
		}
	}
	hard := func(r string) {
		t := k.tmp(3)
		a.op("VMOVAPS %s, %s", k.tmp(1), t)
		a.op("VFMADD231PS %s, %s, %s", k.tmp(0), r, t)
		a.op("VXORPS X%s, X%s, X%s", k.tmp(2)[1:], k.tmp(2)[1:], k.tmp(2)[1:])
		a.op("VMAXPS %s, %s, %s", t, k.tmp(2), t)
		a.op("VBROADCASTSS %d(DI), %s", lim+16, k.tmp(2))
		a.op("VMINPS %s, %s, %s", t, k.tmp(2), t)
	}
	if k.isa == "Z" { // 0 and 1 stay in registers
		hard = func(r string) {
			t := k.tmp(3)
			a.op("VMOVAPS %s, %s", k.tmp(1), t)
			a.op("VFMADD231PS %s, %s, %s", k.tmp(0), r, t)
			a.op("VMAXPS %s, %s, %s", t, k.tmp(4), t)
			a.op("VMINPS %s, %s, %s", t, k.tmp(5), t)
		}
	}
	a.op("MOVQ %d(DI), AX", tileOff("act"))
	a.op("TESTQ AX, AX")
	a.op("JEQ  store")
	if k.isa == "Z" {
		a.op("VPXORD %s, %s, %s", k.tmp(4), k.tmp(4), k.tmp(4))
		a.op("VBROADCASTSS %d(DI), %s", lim+16, k.tmp(5))
	}
	a.op("VBROADCASTSS %d(DI), %s", lim, k.tmp(0))
	a.op("VBROADCASTSS %d(DI), %s", lim+4, k.tmp(1))
	a.op("CMPQ AX, $2")
	a.op("JEQ  swish")
	a.op("CMPQ AX, $3")
	a.op("JEQ  sigmoid")
	a.op("CMPQ AX, $4")
	a.op("JEQ  divide")
	each(func(r string) { // the first source of Go's order, x, wins if it is a NaN
		a.op("VMAXPS %s, %s, %s", r, k.tmp(0), r)
		a.op("VMINPS %s, %s, %s", r, k.tmp(1), r)
	})
	a.op("JMP  store")
	a.label("swish")
	each(func(r string) {
		hard(r)
		a.op("VMULPS %s, %s, %s", k.tmp(3), r, r)
	})
	a.op("JMP  store")
	a.label("sigmoid")
	each(func(r string) {
		hard(r)
		a.op("VMOVAPS %s, %s", k.tmp(3), r)
	})
	a.op("JMP  store")
	a.label("divide")
	each(func(r string) { a.op("VDIVPS %s, %s, %s", k.tmp(0), r, r) })
}

// blockMean writes blockMean512 or blockMean256: sums of pixels by their number modulo 4, added in pairs, divided by d.
func blockMean(a *asm, isa, w string) {
	a.text(fmt.Sprintf("func blockMean%s(dst, src *float32, n int, d float32)", w), "blockMean"+w, 28)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "n+16(FP), DX"} {
		a.op("MOVQ %s", l)
	}
	nv := 1
	if isa == "Y" {
		nv = 2
	}
	r := func(q, v int) string { return fmt.Sprintf("%s%d", isa, q*nv+v) }
	a.op("VBROADCASTSS d+24(FP), %s", r(4, 0))
	for q := range 4 {
		for v := range nv {
			x := r(q, v)
			a.op("%s %s, %s, %s", map[string]string{"Z": "VPXORD", "Y": "VPXOR"}[isa], x, x, x)
		}
	}
	add := func(q int) {
		for v := range nv {
			a.op("VADDPS %s(SI), %s, %s", offset(64*q+32*v), r(q, v), r(q, v))
		}
	}
	a.op("SUBQ $4, DX")
	a.op("JLT  tail")
	a.label("loop")
	for q := range 4 {
		add(q)
	}
	a.op("ADDQ $256, SI")
	a.op("SUBQ $4, DX")
	a.op("JGE  loop")
	a.label("tail")
	for q := range 3 {
		a.op("CMPQ DX, $%d", q-4)
		a.op("JEQ  done")
		add(q)
	}
	a.label("done")
	for v := range nv {
		a.op("VADDPS %s, %s, %s", r(1, v), r(0, v), r(0, v))
		a.op("VADDPS %s, %s, %s", r(3, v), r(2, v), r(2, v))
		a.op("VADDPS %s, %s, %s", r(2, v), r(0, v), r(0, v))
		a.op("VDIVPS %s, %s, %s", r(4, 0), r(0, v), r(0, v))
		a.op("VMOVUPS %s, %s(DI)", r(0, v), offset(32*v))
	}
	a.op("VZEROUPPER")
	a.op("RET")
}
