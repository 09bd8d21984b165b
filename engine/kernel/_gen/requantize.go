package main

import (
	"fmt"
	"strings"
)

// requantize writes y = int(min(max(float(acc+bias)*scale, -zero), 255-zero)) + zero, its bits flipped by flip, for whole
// vectors; bias and scale move with the columns, or stay where they are if step is 0.
func requantize(a *asm, stubs *strings.Builder, isa string) {
	name := map[string]string{"Z": "requantize512", "Y": "requantize256"}[isa]
	lanes := map[string]int{"Z": 16, "Y": 8}[isa]
	decl := fmt.Sprintf("func %s(acc *int32, n int, y *uint8, scale *float32, scaleInc int, bias *int32, biasInc int, zero int32, flip uint32)", name)
	fmt.Fprintf(stubs, "\n// %s requantizes n sums, a multiple of %d, not 0; increments are in bytes per vector.\n//\n//go:noescape\n%s\n", name, lanes, decl)
	a.text(decl, name, 64)
	r := func(i int) string { return fmt.Sprintf("%s%d", isa, i) }
	for _, l := range []string{"acc+0(FP), SI", "n+8(FP), CX", "y+16(FP), DI", "scale+24(FP), R8", "scaleInc+32(FP), R9", "bias+40(FP), R10", "biasInc+48(FP), R11"} {
		a.op("MOVQ %s", l)
	}
	a.op("VBROADCASTSS zero+56(FP), %s", r(2))
	a.op("VBROADCASTSS flip+60(FP), X5")
	quantLimits(a, isa)
	a.label("loop")
	a.op("VMOVUPS (SI), %s", r(0))
	a.op("VPADDD (R10), %s, %s", r(0), r(0))
	a.op("VCVTDQ2PS %s, %s", r(0), r(0))
	a.op("VMULPS (R8), %s, %s", r(0), r(0))
	quantTail(a, isa, func() { a.op("VPXOR X5, X0, X0") })
	a.op("ADDQ $%d, SI", 4*lanes)
	a.op("ADDQ $%d, DI", lanes)
	a.op("ADDQ R9, R8")
	a.op("ADDQ R11, R10")
	a.op("SUBQ $%d, CX", lanes)
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

// quantLimits sets register 3 to -zero and 4 to 255-zero as floats, from the zero point in register 2.
func quantLimits(a *asm, isa string) {
	r := func(i int) string { return fmt.Sprintf("%s%d", isa, i) }
	a.op("MOVL $255, AX")
	a.op("VMOVD AX, X4")
	a.op("VPBROADCASTD X4, %s", r(4))
	a.op("%s %s, %s, %s", map[string]string{"Z": "VPXORD", "Y": "VPXOR"}[isa], r(3), r(3), r(3))
	a.op("VPSUBD %s, %s, %s", r(2), r(3), r(3))
	a.op("VPSUBD %s, %s, %s", r(2), r(4), r(4))
	a.op("VCVTDQ2PS %s, %s", r(3), r(3))
	a.op("VCVTDQ2PS %s, %s", r(4), r(4))
}

// quantTail limits and rounds register 0, adds the zero point and stores the bytes, which more may change, to (DI). The
// maximum turns a NaN into the limit.
func quantTail(a *asm, isa string, more func()) {
	r := func(i int) string { return fmt.Sprintf("%s%d", isa, i) }
	a.op("VMAXPS %s, %s, %s", r(3), r(0), r(0))
	a.op("VMINPS %s, %s, %s", r(4), r(0), r(0))
	a.op("VCVTPS2DQ %s, %s", r(0), r(0))
	a.op("VPADDD %s, %s, %s", r(2), r(0), r(0))
	if isa == "Z" {
		a.op("VPMOVDB Z0, X0")
	} else {
		a.op("VEXTRACTI128 $1, Y0, X6")
		a.op("VPACKUSDW X6, X0, X0")
		a.op("VPACKUSWB X0, X0, X0")
	}
	more()
	a.op("%s X0, (DI)", map[string]string{"Z": "VMOVDQU", "Y": "VMOVQ"}[isa])
}

// quantize writes q = int(min(max(x/scale, -zero), 255-zero)) + zero for whole vectors; the maximum turns a NaN into the limit. The fast
// form, for scales far from the ends of the range, multiplies by the inverse y = RN(1/scale) and mends the quotient: q1 = q0 + (x - q0*scale)*y
// is within one ulp of x/scale, so its remainder is exact and q2 = q1 + (x - q1*scale)*y is the rounded quotient (P. Markstein, Computation of
// elementary functions on the IBM RISC System/6000 processor, 1990, theorem 5). x is limited first to where the result saturates, so that
// nothing overflows.
func quantize(a *asm, stubs *strings.Builder, isa string, fast bool) {
	name := map[string]string{"Z": "quantizeU8x512", "Y": "quantizeU8x256"}[isa]
	args := "x *float32, n int, q *uint8, scale float32, zero int32"
	size := 32
	if fast {
		name, args, size = strings.Replace(name, "quantize", "quantizeFast", 1), args+", inverse, lo, hi float32", 44
	}
	lanes := map[string]int{"Z": 16, "Y": 8}[isa]
	decl := fmt.Sprintf("func %s(%s)", name, args)
	fmt.Fprintf(stubs, "\n// %s quantizes n floats, a multiple of %d, not 0.\n//\n//go:noescape\n%s\n", name, lanes, decl)
	a.text(decl, name, size)
	r := func(i int) string { return fmt.Sprintf("%s%d", isa, i) }
	a.op("MOVQ x+0(FP), SI")
	a.op("MOVQ n+8(FP), CX")
	a.op("MOVQ q+16(FP), DI")
	a.op("VBROADCASTSS scale+24(FP), %s", r(1))
	a.op("VBROADCASTSS zero+28(FP), %s", r(2))
	if fast {
		a.op("VBROADCASTSS inverse+32(FP), %s", r(7))
		a.op("VBROADCASTSS lo+36(FP), %s", r(8))
		a.op("VBROADCASTSS hi+40(FP), %s", r(9))
	}
	quantLimits(a, isa)
	a.label("loop")
	a.op("VMOVUPS (SI), %s", r(0))
	if fast {
		a.op("VMAXPS %s, %s, %s", r(8), r(0), r(0))
		a.op("VMINPS %s, %s, %s", r(9), r(0), r(10))
		a.op("VMULPS %s, %s, %s", r(7), r(10), r(0))
		for range 2 {
			a.op("VMOVAPS %s, %s", r(10), r(11))
			a.op("VFNMADD231PS %s, %s, %s", r(1), r(0), r(11))
			a.op("VFMADD231PS %s, %s, %s", r(7), r(11), r(0))
		}
	} else {
		a.op("VDIVPS %s, %s, %s", r(1), r(0), r(0))
	}
	quantTail(a, isa, func() {})
	a.op("ADDQ $%d, SI", 4*lanes)
	a.op("ADDQ $%d, DI", lanes)
	a.op("SUBQ $%d, CX", lanes)
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}
