package main

import (
	"fmt"
	"strings"
)

// int8ElemFiles writes element-wise functions of bytes.
func int8ElemFiles() []file {
	var s strings.Builder
	fmt.Fprintf(&s, goHead, "int8elem.go")
	a := newAsm("int8elem.go")
	lookupU8(a, &s)
	lookupU8x32(a, &s)
	for rows := 8; rows < 16; rows += 2 {
		lookupRowsU8x32(a, &s, rows)
	}
	for _, isa := range []string{"Z", "Y"} {
		binaryU8(a, &s, isa, "addU8", "AddU8")
		binaryU8(a, &s, isa, "mulU8", "MulU8")
		sumRowsU8(a, &s, isa)
	}
	maxU8(a, &s)
	widenU8(a, &s)
	interleaveU8(a, &s)
	return []file{a.file("int8_elem_amd64.s"), {"int8_elem_stubs_amd64.go", []byte(s.String())}}
}

// lookupU8 looks bytes up in a table held in four registers.
func lookupU8(a *asm, s *strings.Builder) {
	decl := "func lookup512(dst, src *uint8, n int, t *uint8)"
	fmt.Fprintf(s, "\n// lookup512 sets dst[i] = t[src[i]]; n is a multiple of 64, not 0. It needs AVX512-VBMI.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "lookup512", 32)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "n+16(FP), CX", "t+24(FP), BX"} {
		a.op("MOVQ %s", l)
	}
	for i := range 4 {
		a.op("VMOVDQU8 %d(BX), Z%d", 64*i, i)
	}
	a.label("loop")
	a.op("VMOVDQU8 (SI), Z4")
	a.op("VMOVDQA64 Z4, Z5")
	a.op("VPMOVB2M Z4, K1")
	a.op("VPERMI2B Z1, Z0, Z4")
	a.op("VPERMI2B Z3, Z2, Z5")
	a.op("VMOVDQU8 Z5, K1, Z4")
	a.op("VMOVDQU8 Z4, (DI)")
	a.op("ADDQ $64, SI")
	a.op("ADDQ $64, DI")
	a.op("SUBQ $64, CX")
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

// lookupU8x32 looks bytes up by their low halves in the sixteen rows of a table and picks the row bit by bit of the high halves.
func lookupU8x32(a *asm, s *strings.Builder) {
	decl := "func lookup256(dst, src *uint8, n int, t *uint8)"
	fmt.Fprintf(s, "\n// lookup256 sets dst[i] = t[src[i]]; n is a multiple of 32, not 0.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "lookup256", 32)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "n+16(FP), CX", "t+24(FP), BX"} {
		a.op("MOVQ %s", l)
	}
	a.op("VPCMPEQB Y15, Y15, Y15")
	a.op("VPSRLW $12, Y15, Y15")
	a.op("VPACKUSWB Y15, Y15, Y15")
	a.label("loop")
	a.op("VMOVDQU (SI), Y0")
	tableTree(a, 0, 5, 15, "BX", 16)
	a.op("VMOVDQU Y5, (DI)")
	a.op("ADDQ $32, SI")
	a.op("ADDQ $32, DI")
	a.op("SUBQ $32, CX")
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

// lookupRowsU8x32 is lookupU8x32 of a table of fewer rows of sixteen, which begins at the byte low; what is below is low.
func lookupRowsU8x32(a *asm, s *strings.Builder, rows int) {
	name := fmt.Sprintf("lookup256r%d", rows)
	decl := fmt.Sprintf("func %s(dst, src *uint8, n int, t, low *uint8)", name)
	fmt.Fprintf(s, "\n// %s sets dst[i] = t[max(src[i], *low) - *low] of a table of %d bytes, which no index exceeds; n is a multiple of 32, not 0.\n//\n//go:noescape\n%s\n", name, 16*rows, decl)
	a.text(decl, name, 40)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "n+16(FP), CX", "t+24(FP), BX", "low+32(FP), AX"} {
		a.op("MOVQ %s", l)
	}
	a.op("VPCMPEQB Y15, Y15, Y15")
	a.op("VPSRLW $12, Y15, Y15")
	a.op("VPACKUSWB Y15, Y15, Y15")
	a.op("VPBROADCASTB (AX), Y14")
	a.label("loop")
	a.op("VMOVDQU (SI), Y0")
	a.op("VPSUBUSB Y14, Y0, Y0")
	tableTree(a, 0, 5, 15, "BX", rows)
	a.op("VMOVDQU Y5, (DI)")
	a.op("ADDQ $32, SI")
	a.op("ADDQ $32, DI")
	a.op("SUBQ $32, CX")
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

// tableTree looks the bytes of register x, which it changes, up in the table of so many rows at base. The result is in register to, the first of six that it
// uses, beside the three behind x; every byte of register low is 15.
func tableTree(a *asm, x, to, low int, base string, rows int) {
	for i := 1; i <= 3; i++ { // the bit that chooses at each level, as the highest one of its byte
		a.op("VPSLLW $%d, Y%d, Y%d", i, x, x+i)
	}
	high := []int{x + 3, x + 2, x + 1, to + 5}
	a.op("VMOVDQA Y%d, Y%d", x, to+5)
	a.op("VPAND Y%d, Y%d, Y%d", low, x, x)
	var node func(level, first, r int)
	node = func(level, first, r int) {
		if level < 0 {
			a.op("VBROADCASTI128 %d(%s), Y%d", 16*first, base, r)
			a.op("VPSHUFB Y%d, Y%d, Y%d", x, r, r)
			return
		}
		node(level-1, first, r)
		if first+(1<<level) >= rows {
			return
		}
		node(level-1, first+(1<<level), r+1)
		a.op("VPBLENDVB Y%d, Y%d, Y%d, Y%d", high[level], r+1, r, r)
	}
	node(3, 0, to)
}

// bytesOut stores the 16 or 8 integers of register 0 as bytes to (DI).
func bytesOut(a *asm, isa string) {
	if isa == "Z" {
		a.op("VPMOVDB Z0, (DI)")
		return
	}
	a.op("VEXTRACTI128 $1, Y0, X1")
	a.op("VPACKUSDW X1, X0, X0")
	a.op("VPACKUSWB X0, X0, X0")
	a.op("VMOVQ X0, (DI)")
}

// binaryU8 writes a sum or product of quantized bytes; the factors are read in the order of the fields of typ.
func binaryU8(a *asm, s *strings.Builder, isa, name, typ string) {
	full := name + map[string]string{"Z": "x512", "Y": "x256"}[isa]
	lanes := map[string]int{"Z": 16, "Y": 8}[isa]
	decl := fmt.Sprintf("func %s(dst, a, b *uint8, n int, f *%s)", full, typ)
	fmt.Fprintf(s, "\n// %s does n elements, a multiple of %d, not 0.\n//\n//go:noescape\n%s\n", full, lanes, decl)
	a.text(decl, full, 40)
	for _, l := range []string{"dst+0(FP), DI", "a+8(FP), SI", "b+16(FP), DX", "n+24(FP), CX", "f+32(FP), BX"} {
		a.op("MOVQ %s", l)
	}
	r := func(i int) string { return fmt.Sprintf("%s%d", isa, i) }
	fields := 5
	if typ == "MulU8" {
		fields = 6
	}
	for i := range fields {
		a.op("VBROADCASTSS %d(BX), %s", 4*i, r(8+i))
	}
	if typ == "MulU8" {
		a.op("VCVTPS2DQ %s, %s", r(13), r(13))
	}
	a.label("loop")
	a.op("VPMOVZXBD (SI), %s", r(0))
	a.op("VPMOVZXBD (DX), %s", r(1))
	a.op("VCVTDQ2PS %s, %s", r(0), r(0))
	a.op("VCVTDQ2PS %s, %s", r(1), r(1))
	if typ == "AddU8" { // 8 A, 9 B, 10 Fixed, 11 Lo, 12 Hi
		a.op("VFMADD213PS %s, %s, %s", r(10), r(9), r(1))
		a.op("VFMADD213PS %s, %s, %s", r(1), r(8), r(0))
	} else { // 8 ZA, 9 ZB, 10 Ratio, 11 Lo, 12 Hi, 13 Zero
		a.op("VSUBPS %s, %s, %s", r(8), r(0), r(0))
		a.op("VSUBPS %s, %s, %s", r(9), r(1), r(1))
		a.op("VMULPS %s, %s, %s", r(1), r(0), r(0))
		a.op("VMULPS %s, %s, %s", r(10), r(0), r(0))
	}
	a.op("VMAXPS %s, %s, %s", r(11), r(0), r(0))
	a.op("VMINPS %s, %s, %s", r(12), r(0), r(0))
	a.op("VCVTPS2DQ %s, %s", r(0), r(0))
	if typ == "MulU8" {
		a.op("VPADDD %s, %s, %s", r(13), r(0), r(0))
	}
	bytesOut(a, isa)
	a.op("ADDQ $%d, SI", lanes)
	a.op("ADDQ $%d, DX", lanes)
	a.op("ADDQ $%d, DI", lanes)
	a.op("SUBQ $%d, CX", lanes)
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

// sumRowsU8 writes the sums of columns of bytes.
func sumRowsU8(a *asm, s *strings.Builder, isa string) {
	name := "sumRowsU8" + map[string]string{"Z": "x512", "Y": "x256"}[isa]
	lanes := map[string]int{"Z": 16, "Y": 8}[isa]
	decl := fmt.Sprintf("func %s(acc *int32, n int, x *uint8, rows, ld int)", name)
	fmt.Fprintf(s, "\n// %s adds rows of bytes to n sums, a multiple of %d, not 0; rows is not 0.\n//\n//go:noescape\n%s\n", name, lanes, decl)
	a.text(decl, name, 40)
	for _, l := range []string{"acc+0(FP), DI", "n+8(FP), CX", "x+16(FP), SI", "rows+24(FP), DX", "ld+32(FP), R8"} {
		a.op("MOVQ %s", l)
	}
	r := func(i int) string { return fmt.Sprintf("%s%d", isa, i) }
	add := map[string]string{"Z": "VMOVDQU32", "Y": "VMOVDQU"}[isa]
	a.label("columns")
	a.op("%s (DI), %s", add, r(0))
	a.op("MOVQ SI, R9")
	a.op("MOVQ DX, R10")
	a.label("row")
	a.op("VPMOVZXBD (R9), %s", r(1))
	a.op("VPADDD %s, %s, %s", r(1), r(0), r(0))
	a.op("ADDQ R8, R9")
	a.op("DECQ R10")
	a.op("JNE  row")
	a.op("%s %s, (DI)", add, r(0))
	a.op("ADDQ $%d, DI", 4*lanes)
	a.op("ADDQ $%d, SI", lanes)
	a.op("SUBQ $%d, CX", lanes)
	a.op("JG   columns")
	a.op("VZEROUPPER")
	a.op("RET")
}

// maxU8 writes the maximum of bytes.
func maxU8(a *asm, s *strings.Builder) {
	decl := "func maxU8x32(dst, src *uint8, n int)"
	fmt.Fprintf(s, "\n// maxU8x32 sets dst[i] = max(dst[i], src[i]); n is a multiple of 32, not 0.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "maxU8x32", 24)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "n+16(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	a.label("loop")
	a.op("VMOVDQU (DI), Y0")
	a.op("VPMAXUB (SI), Y0, Y0")
	a.op("VMOVDQU Y0, (DI)")
	a.op("ADDQ $32, DI")
	a.op("ADDQ $32, SI")
	a.op("SUBQ $32, CX")
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

// shuffle packs the places that VPSHUFB takes bytes from, -1 for none, into words.
func shuffle(places []int) []uint32 {
	words := make([]uint32, len(places)/4)
	for i, p := range places {
		words[i/4] |= uint32(uint8(p)) << (8 * (i % 4))
	}
	return words
}

// widenU8 copies pixels of three bytes to places of four, eight at a time.
func widenU8(a *asm, s *strings.Builder) {
	decl := "func widenPixels256(dst, src *uint8, n int)"
	fmt.Fprintf(s, "\n// widenPixels256 copies n pixels of three bytes, a multiple of 8, not 0, to places of four; it reads 4 bytes more.\n//\n//go:noescape\n%s\n", decl)
	var places []int
	for range 2 {
		places = append(places, 0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1)
	}
	a.data("widenPixels", shuffle(places))
	a.text(decl, "widenPixels256", 24)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "n+16(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	a.op("VMOVDQU widenPixels<>(SB), Y1")
	a.label("loop")
	a.op("VMOVDQU (SI), X0")
	a.op("VINSERTI128 $1, 12(SI), Y0, Y0")
	a.op("VPSHUFB Y1, Y0, Y0")
	a.op("VMOVDQU Y0, (DI)")
	a.op("ADDQ $24, SI")
	a.op("ADDQ $32, DI")
	a.op("SUBQ $8, CX")
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

// interleaveU8 puts three planes side by side, 16 pixels at a time.
func interleaveU8(a *asm, s *strings.Builder) {
	decl := "func interleave3x16(dst, x, y, z *uint8, n int)"
	fmt.Fprintf(s, "\n// interleave3x16 turns three planes of n bytes, a multiple of 16, not 0, into pixels.\n//\n//go:noescape\n%s\n", decl)
	var places []int
	for out := range 3 {
		for plane := range 3 {
			for i := 16 * out; i < 16*out+16; i++ {
				p := -1
				if i%3 == plane {
					p = i / 3
				}
				places = append(places, p)
			}
		}
	}
	a.data("interleave3", shuffle(places))
	a.text(decl, "interleave3x16", 40)
	for _, l := range []string{"dst+0(FP), DI", "x+8(FP), SI", "y+16(FP), DX", "z+24(FP), BX", "n+32(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	for i := range 9 {
		a.op("VMOVDQU interleave3<>+%d(SB), X%d", 16*i, 6+i)
	}
	a.label("loop")
	for i, r := range []string{"SI", "DX", "BX"} {
		a.op("VMOVDQU (%s), X%d", r, i)
	}
	for out := range 3 {
		for plane := range 3 {
			a.op("VPSHUFB X%d, X%d, X%d", 6+3*out+plane, plane, 3+plane)
		}
		a.op("VPOR X4, X3, X3")
		a.op("VPOR X5, X3, X3")
		a.op("VMOVDQU X3, %d(DI)", 16*out)
	}
	for _, r := range []string{"SI", "DX", "BX"} {
		a.op("ADDQ $16, %s", r)
	}
	a.op("ADDQ $48, DI")
	a.op("SUBQ $16, CX")
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}
