package main

import (
	"fmt"
	"strings"
)

// weightsFiles writes what turns matrices of float32 weights into codes, read row by row.
func weightsFiles() []file {
	var s strings.Builder
	fmt.Fprintf(&s, goHead, "weights.go")
	a := newAsm("weights.go")
	for _, rows := range []int{4, 1} {
		columnExtents(a, &s, rows)
	}
	for _, bits := range []int{4, 8} {
		groupCodes(a, &s, bits)
	}
	columnCodes(a, &s)
	return []file{a.file("weights_amd64.s"), {"weights_stubs_amd64.go", []byte(s.String())}}
}

// columnExtents writes the extremes of columns. A value times 0 is 0 unless it is not finite; such products are added up.
func columnExtents(a *asm, s *strings.Builder, rows int) {
	name := fmt.Sprintf("columnExtents%dx256", rows)
	decl := fmt.Sprintf("func %s(lo, hi, x *float32, ld, n int) (check float32)", name)
	fmt.Fprintf(s, "\n// %s does %d rows, ld bytes apart, of n columns, a multiple of 8, not 0. check is 0 when all values are finite, else a NaN.\n//\n//go:noescape\n%s\n", name, rows, decl)
	a.text(decl, name, 44)
	for _, l := range []string{"lo+0(FP), DI", "hi+8(FP), DX", "x+16(FP), SI", "ld+24(FP), R8", "n+32(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	a.op("LEAQ (R8)(R8*2), R9")
	a.op("VXORPS Y15, Y15, Y15")
	for r := range rows {
		a.op("VXORPS Y%d, Y%d, Y%d", 8+r, 8+r, 8+r)
	}
	at := []string{"(SI)", "(SI)(R8*1)", "(SI)(R8*2)", "(SI)(R9*1)"}
	a.label("loop")
	a.op("VMOVUPS (DI), Y0")
	a.op("VMOVUPS (DX), Y1")
	for r := range rows {
		a.op("VMOVUPS %s, Y%d", at[r], 2+r)
	}
	for r := range rows {
		a.op("VMINPS Y0, Y%d, Y0", 2+r)
		a.op("VMAXPS Y1, Y%d, Y1", 2+r)
		a.op("VFMADD231PS Y15, Y%d, Y%d", 2+r, 8+r)
	}
	a.op("VMOVUPS Y0, (DI)")
	a.op("VMOVUPS Y1, (DX)")
	for _, r := range []string{"DI", "DX", "SI"} {
		a.op("ADDQ $32, %s", r)
	}
	a.op("SUBQ $8, CX")
	a.op("JG   loop")
	for r := 1; r < rows; r++ {
		a.op("VADDPS Y%d, Y8, Y8", 8+r)
	}
	a.op("VEXTRACTF128 $1, Y8, X0")
	a.op("VADDPS X0, X8, X8")
	for _, order := range []int{0x4e, 0xb1} {
		a.op("VPERMILPS $0x%02x, X8, X0", order)
		a.op("VADDPS X0, X8, X8")
	}
	a.op("VMOVSS X8, check+40(FP)")
	a.op("VZEROUPPER")
	a.op("RET")
}

// groupCodes writes the codes of a group of rows, those of a column side by side: 32 bits of a column are collected in the lane of that
// column. A code is the part before the point, one more where what is behind it is a half or more.
func groupCodes(a *asm, s *strings.Builder, bits int) {
	name, rows := fmt.Sprintf("groupCodes%dx256", bits), 32/bits
	decl := fmt.Sprintf("func %s(q *uint8, step int, x *float32, ld, rows int, recip, zero *float32, n int)", name)
	fmt.Fprintf(s, "\n// %s does rows, a multiple of %d, not 0, ld bytes apart, of n columns, a multiple of 16, not 0; the codes of a column are step bytes behind those of the one before.\n//\n//go:noescape\n%s\n", name, rows, decl)
	a.text(decl, name, 64)
	for _, l := range []string{"q+0(FP), DI", "step+8(FP), R8", "x+16(FP), SI", "ld+24(FP), R9", "recip+40(FP), AX", "zero+48(FP), BX", "n+56(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	a.op("LEAQ (R8)(R8*2), R10")
	a.op("MOVL $0x%08x, R11", 0x3f000000) // a half
	a.op("VMOVD R11, X4")
	a.op("VPBROADCASTD X4, Y4")
	a.op("MOVL $%d, R11", 1<<bits-1)
	a.op("VMOVD R11, X5")
	a.op("VPBROADCASTD X5, Y5")
	a.op("VPXOR Y6, Y6, Y6")
	a.label("columns")
	for i := range 2 {
		a.op("VMOVUPS %d(AX), Y%d", 32*i, i)
		a.op("VMOVUPS %d(BX), Y%d", 32*i, 2+i)
	}
	a.op("MOVQ SI, R11")
	a.op("MOVQ DI, R12")
	a.op("MOVQ rows+32(FP), DX")
	a.label("rows")
	for r := range rows {
		for i := range 2 {
			v, t, f, sum := 9+3*i, 10+3*i, 11+3*i, 7+i
			a.op("VMULPS %d(R11), Y%d, Y%d", 32*i, i, v)
			a.op("VADDPS Y%d, Y%d, Y%d", 2+i, v, v)
			a.op("VCVTTPS2DQ Y%d, Y%d", v, t)
			a.op("VCVTDQ2PS Y%d, Y%d", t, f)
			a.op("VSUBPS Y%d, Y%d, Y%d", f, v, v)
			a.op("VCMPPS $13, Y4, Y%d, Y%d", v, v)
			a.op("VPSUBD Y%d, Y%d, Y%d", v, t, t)
			a.op("VPMAXSD Y6, Y%d, Y%d", t, t)
			if r == 0 {
				a.op("VPMINSD Y5, Y%d, Y%d", t, sum)
				continue
			}
			a.op("VPMINSD Y5, Y%d, Y%d", t, t)
			a.op("VPSLLD $%d, Y%d, Y%d", bits*r, t, t)
			a.op("VPOR Y%d, Y%d, Y%d", t, sum, sum)
		}
		a.op("ADDQ R9, R11")
	}
	a.op("MOVQ R12, R13")
	for i := range 2 {
		for half := range 2 {
			if half == 1 {
				a.op("VEXTRACTI128 $1, Y%d, X%d", 7+i, 7+i)
			}
			a.op("VMOVD X%d, (R13)", 7+i)
			a.op("VPEXTRD $1, X%d, (R13)(R8*1)", 7+i)
			a.op("VPEXTRD $2, X%d, (R13)(R8*2)", 7+i)
			a.op("VPEXTRD $3, X%d, (R13)(R10*1)", 7+i)
			if i+half < 2 {
				a.op("LEAQ (R13)(R8*4), R13")
			}
		}
	}
	a.op("ADDQ $4, R12")
	a.op("SUBQ $%d, DX", rows)
	a.op("JG   rows")
	a.op("MOVQ R8, R13")
	a.op("SHLQ $4, R13")
	a.op("ADDQ R13, DI")
	for _, r := range []string{"SI", "AX", "BX"} {
		a.op("ADDQ $64, %s", r)
	}
	a.op("SUBQ $16, CX")
	a.op("JG   columns")
	a.op("VZEROUPPER")
	a.op("RET")
}

// columnCodes writes the signed codes of a row whose columns have scales of their own.
func columnCodes(a *asm, s *strings.Builder) {
	decl := "func columnCodes256(q *uint8, x, scale *float32, n int, lo, hi float32)"
	fmt.Fprintf(s, "\n// columnCodes256 does n elements, a multiple of 32, not 0; lo and hi are integers of 8 bits.\n//\n//go:noescape\n%s\n", decl)
	a.data("weightsOrder", []uint32{0, 4, 1, 5, 2, 6, 3, 7})
	a.text(decl, "columnCodes256", 40)
	for _, l := range []string{"q+0(FP), DI", "x+8(FP), SI", "scale+16(FP), DX", "n+24(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	a.op("VBROADCASTSS lo+32(FP), Y8")
	a.op("VBROADCASTSS hi+36(FP), Y9")
	a.op("VMOVDQU weightsOrder<>(SB), Y10")
	a.label("loop")
	for i := range 4 {
		a.op("VMOVUPS %d(SI), Y%d", 32*i, i)
		a.op("VDIVPS %d(DX), Y%d, Y%d", 32*i, i, i)
		a.op("VMAXPS Y8, Y%d, Y%d", i, i) // lo for a NaN
		a.op("VMINPS Y9, Y%d, Y%d", i, i)
		a.op("VCVTPS2DQ Y%d, Y%d", i, i)
	}
	a.op("VPACKSSDW Y1, Y0, Y0")
	a.op("VPACKSSDW Y3, Y2, Y2")
	a.op("VPACKSSWB Y2, Y0, Y0")
	a.op("VPERMD Y0, Y10, Y0")
	a.op("VMOVDQU Y0, (DI)")
	a.op("ADDQ $128, SI")
	a.op("ADDQ $128, DX")
	a.op("ADDQ $32, DI")
	a.op("SUBQ $32, CX")
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}
