package main

import (
	"fmt"
	"strings"
)

const int8Doc = `It computes
// c[i][j] = sum over q < k of the four products of a[i][4q..4q+3] and b[q][j][0..3]. Strides are in bytes; k counts fours.`

// int8Files writes the integer products, the quantization of float32 and the sum of bytes.
func int8Files() []file {
	var stubs strings.Builder
	fmt.Fprintf(&stubs, goHead, "int8.go")
	f := tile{isa: "Z", masked: true, unroll: 4, aType: "uint8", bType: "int8", cType: "int32",
		load: "VMOVDQU32", store: "VMOVDQU32", bc: "VPBROADCASTD", fma: "VPDPBUSD", doc: int8Doc}
	z2, z1 := f, f
	z2.name, z2.nv = "vnni512x32m", 2
	z1.name, z1.nv, z1.embedBroadcast = "vnni512x16m", 1, false
	a := newAsm("int8.go")
	for _, t := range []tile{z2, z1} {
		for mr := 1; mr <= 12; mr++ {
			t.kernel(a, mr)
		}
		t.stub(&stubs, 12)
	}
	for mr := 1; mr <= 3; mr++ {
		v := vecTile{name: "vnniGemv512m", isa: "Z", elem: "int8", load: "VMOVDQU32", bc: "VPBROADCASTD", fma: "VPDPBUSD"}
		v.kernel(a, &stubs, mr)
	}
	b := newAsm("int8.go")
	for mr := 1; mr <= wordRows; mr++ {
		words(b, &stubs, mr)
	}
	wordsOf(b, &stubs)
	for mr := 1; mr <= 4; mr++ {
		narrowTile{mr, 2}.kernel(b, &stubs)
	}
	narrowTile{1, 4}.kernel(b, &stubs)
	foldBytes(b, &stubs)
	foldRow(b, &stubs)
	foldWide(b, &stubs)
	foldShort(b, &stubs)
	widePairs(b, &stubs)
	packFours(b, &stubs)
	v := newAsm("int8.go")
	for mr := 1; mr <= 6; mr++ {
		vexProduct(v, &stubs, mr, 2)
	}
	for mr := 1; mr <= 3; mr++ {
		vexProduct(v, &stubs, mr, 4)
	}
	sumBytes(b, &stubs)
	q := newAsm("int8.go")
	for _, isa := range []string{"Z", "Y"} {
		minMax(q, &stubs, isa)
		quantize(q, &stubs, isa, false)
		quantize(q, &stubs, isa, true)
		requantize(q, &stubs, isa)
	}
	return []file{a.file("int8_vnni_amd64.s"), b.file("int8_avx2_amd64.s"), v.file("int8_avxvnni_amd64.s"), q.file("int8_quantize_amd64.s"),
		{"int8_stubs_amd64.go", []byte(stubs.String())}}
}

// wordRows is the number of rows of the exact AVX2 product at most: the sums of six of eight columns take twelve registers.
const wordRows = 6

// words writes the exact AVX2 product: both sides are widened to 16 bits, so that VPMADDWD cannot saturate (VPMADDUBSW does:
// 2*255*127 is more than 32767), those of A before, so that they are loaded to all lanes, and those of B once for all rows. Each sum is a
// pair, joined at the end. mr rows, 8 columns.
func words(a *asm, stubs *strings.Builder, mr int) {
	name := fmt.Sprintf("wordsS8x8m%d", mr)
	decl := "func " + name + "(k int, a *int16, lda int, b *int8, bs int, c *int32, ldc int, mask *int32)"
	fmt.Fprintf(stubs, "\n// %s is the exact AVX2 product of %d row(s) and 8 columns; k counts fours.\n//\n//go:noescape\n%s\n", name, mr, decl)
	a.text(decl, name, 64)
	for _, l := range []string{"k+0(FP), DX", "a+8(FP), SI", "lda+16(FP), R8", "b+24(FP), DI", "bs+32(FP), R9", "c+40(FP), BX", "ldc+48(FP), R13"} {
		a.op("MOVQ %s", l)
	}
	if mr > 3 {
		a.op("LEAQ (R8)(R8*2), R10")
		a.op("ADDQ SI, R10")
	}
	for i := range 2 * mr {
		a.op("VPXOR Y%[1]d, Y%[1]d, Y%[1]d", i)
	}
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("loop")
	a.op("VPMOVSXBW (DI), Y12")
	a.op("VPMOVSXBW 16(DI), Y13")
	for i := range mr {
		a.op("VPBROADCASTQ %s, Y14", rowAddr(i, 0))
		a.op("VPMADDWD Y12, Y14, Y15")
		a.op("VPMADDWD Y13, Y14, Y14")
		a.op("VPADDD Y15, Y%[1]d, Y%[1]d", 2*i)
		a.op("VPADDD Y14, Y%[1]d, Y%[1]d", 2*i+1)
	}
	a.op("ADDQ $8, SI")
	if mr > 3 {
		a.op("ADDQ $8, R10")
	}
	a.op("ADDQ R9, DI")
	a.op("DECQ DX")
	a.op("JNE  loop")
	for i := range mr {
		a.op("VPHADDD Y%d, Y%d, Y%d", 2*i+1, 2*i, i) // columns 0 1 4 5 | 2 3 6 7
		a.op("VPERMQ $0xd8, Y%[1]d, Y%[1]d", i)
	}
	a.op("MOVQ mask+56(FP), AX")
	storeSums(a, mr, 1, true)
}

// wordsOf writes the widening of bytes to 16 bits; n is a multiple of four.
func wordsOf(a *asm, stubs *strings.Builder) {
	decl := "func wordsOfU8(dst *int16, src *uint8, n int)"
	fmt.Fprintf(stubs, "\n// wordsOfU8 widens n bytes to 16 bits, n a multiple of 4.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "wordsOfU8", 24)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "n+16(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	a.op("SUBQ $16, CX")
	a.op("JLT  rest")
	a.label("loop")
	a.op("VPMOVZXBW (SI), Y0")
	a.op("VMOVDQU Y0, (DI)")
	a.op("ADDQ $16, SI")
	a.op("ADDQ $32, DI")
	a.op("SUBQ $16, CX")
	a.op("JGE  loop")
	a.label("rest")
	a.op("ADDQ $16, CX")
	a.op("JEQ  end")
	a.label("four")
	a.op("VMOVD (SI), X0")
	a.op("VPMOVZXBW X0, X0")
	a.op("VMOVQ X0, (DI)")
	a.op("ADDQ $4, SI")
	a.op("ADDQ $8, DI")
	a.op("SUBQ $4, CX")
	a.op("JNE  four")
	a.label("end")
	a.op("VZEROUPPER")
	a.op("RET")
}

// sumBytes writes the sum of unsigned bytes by VPSADBW; n is a multiple of 32, not 0.
func sumBytes(a *asm, stubs *strings.Builder) {
	decl := "func sumU8x32(x *uint8, n int) int64"
	fmt.Fprintf(stubs, "\n// sumU8x32 adds n bytes, n a multiple of 32 and not 0.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "sumU8x32", 24)
	a.op("MOVQ x+0(FP), SI")
	a.op("MOVQ n+8(FP), CX")
	a.op("VPXOR Y0, Y0, Y0")
	a.op("VPXOR Y1, Y1, Y1")
	a.label("loop")
	a.op("VPSADBW (SI), Y0, Y2")
	a.op("VPADDQ Y2, Y1, Y1")
	a.op("ADDQ $32, SI")
	a.op("SUBQ $32, CX")
	a.op("JG   loop")
	a.op("VEXTRACTI128 $1, Y1, X2")
	a.op("VPADDQ X2, X1, X1")
	a.op("VPSRLDQ $8, X1, X2")
	a.op("VPADDQ X2, X1, X1")
	a.op("VMOVQ X1, AX")
	a.op("MOVQ AX, ret+16(FP)")
	a.op("VZEROUPPER")
	a.op("RET")
}

// minMax writes the range of n floats joined with [0, 0]; a NaN is ignored, since the sum so far is the second source.
func minMax(a *asm, stubs *strings.Builder, isa string) {
	name := map[string]string{"Z": "minMax512", "Y": "minMax256"}[isa]
	w := map[string]int{"Z": 64, "Y": 32}[isa]
	decl := fmt.Sprintf("func %s(x *float32, n int) (lo, hi float32)", name)
	fmt.Fprintf(stubs, "\n// %s returns the range of 0 and the n floats; n is a multiple of %d, not 0.\n//\n//go:noescape\n%s\n", name, w, decl)
	a.text(decl, name, 24)
	a.op("MOVQ x+0(FP), SI")
	a.op("MOVQ n+8(FP), CX")
	r := func(i int) string { return fmt.Sprintf("%s%d", isa, i) }
	for i := range 8 {
		a.op("VXORPS X%d, X%d, X%d", i, i, i)
	}
	a.label("loop")
	for i := range 4 {
		a.op("VMOVUPS %d(SI), %s", i*w, r(8+i))
		a.op("VMINPS %s, %s, %s", r(i), r(8+i), r(i))
		a.op("VMAXPS %s, %s, %s", r(4+i), r(8+i), r(4+i))
	}
	a.op("ADDQ $%d, SI", 4*w)
	a.op("SUBQ $%d, CX", w)
	a.op("JG   loop")
	for o, op := range []string{"VMINPS", "VMAXPS"} {
		b := 4 * o
		a.op("%s %s, %s, %s", op, r(b+1), r(b), r(b))
		a.op("%s %s, %s, %s", op, r(b+3), r(b+2), r(b+2))
		a.op("%s %s, %s, %s", op, r(b+2), r(b), r(b))
		if isa == "Z" {
			a.op("VEXTRACTF32X8 $1, Z%d, Y8", b)
			a.op("%s Y8, Y%d, Y%d", op, b, b)
		}
		a.op("VEXTRACTF128 $1, Y%d, X8", b)
		a.op("%s X8, X%d, X%d", op, b, b)
		a.op("VPERMILPS $0x4e, X%d, X8", b)
		a.op("%s X8, X%d, X%d", op, b, b)
		a.op("VPERMILPS $0xb1, X%d, X8", b)
		a.op("%s X8, X%d, X%d", op, b, b)
	}
	a.op("VMOVSS X0, lo+16(FP)")
	a.op("VMOVSS X4, hi+20(FP)")
	a.op("VZEROUPPER")
	a.op("RET")
}
