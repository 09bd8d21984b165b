package main

import (
	"fmt"
	"strings"
)

// The products below are for weights of which two neighbours are at most 128 apart from 0 in sum: 255 times that fits the 16 bits of
// VPMADDUBSW. Where even the positive weights of two groups of four rows, and the negative ones, are no more than that in sum, the two results
// are added in 16 bits and widened once: a byte of wide, one for two groups of a panel, tells where they are not.

// narrowTile is mr rows and nv vectors of eight columns.
type narrowTile struct{ mr, nv int }

func (t narrowTile) name() string { return fmt.Sprintf("narrowU8S8x%dm%d", 8*t.nv, t.mr) }

func (t narrowTile) sum(i, v int) int { return t.nv*i + v }

// row is the address of byte d of row i.
func (t narrowTile) row(i, d int) string {
	return []string{fmt.Sprintf("%d(SI)", d), fmt.Sprintf("%d(SI)(R8*1)", d), fmt.Sprintf("%d(SI)(R8*2)", d), fmt.Sprintf("%d(R10)", d)}[i]
}

// kernel writes the product. The sums are Y0 to Y7 at most, Y15 sixteen ones.
func (t narrowTile) kernel(a *asm, stubs *strings.Builder) {
	args, size := "k int, a *uint8, lda int, b *int8, wide *uint8, c *int32, ldc int", 56
	masked := t.nv == 2
	if masked {
		args, size = args+", mask *int32", 64
	}
	decl := fmt.Sprintf("func %s(%s)", t.name(), args)
	fmt.Fprintf(stubs, "\n// %s is the AVX2 product of %d row(s) and %d columns of narrow weights; k counts fours.\n//\n//go:noescape\n%s\n", t.name(), t.mr, 8*t.nv, decl)
	a.text(decl, t.name(), size)
	for _, l := range []string{"k+0(FP), DX", "a+8(FP), SI", "lda+16(FP), R8", "b+24(FP), DI", "wide+32(FP), R12", "c+40(FP), BX", "ldc+48(FP), R13"} {
		a.op("MOVQ %s", l)
	}
	if t.mr > 3 {
		a.op("LEAQ (R8)(R8*2), R10")
		a.op("ADDQ SI, R10")
	}
	for i := range t.mr * t.nv {
		a.op("VPXOR Y%[1]d, Y%[1]d, Y%[1]d", i)
	}
	a.op("VPCMPEQW Y15, Y15, Y15")
	a.op("VPSRLW $15, Y15, Y15")
	a.op("SUBQ $2, DX")
	a.op("JLT  odd")
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("loop")
	a.op("CMPB (R12), $0")
	a.op("JNE  single")
	if t.nv == 2 {
		t.pair(a)
	} else {
		t.pairOfRow(a)
	}
	a.label("next")
	a.op("ADDQ $8, SI")
	if t.mr > 3 {
		a.op("ADDQ $8, R10")
	}
	a.op("ADDQ $256, DI")
	a.op("INCQ R12")
	a.op("SUBQ $2, DX")
	a.op("JGE  loop")
	a.label("odd")
	a.op("ADDQ $2, DX")
	a.op("JEQ  store")
	t.four(a, 0)
	a.label("store")
	if masked {
		a.op("MOVQ mask+56(FP), AX")
	}
	storeSums(a, t.mr, t.nv, masked)
	a.label("single")
	t.four(a, 0)
	t.four(a, 1)
	a.op("JMP  next")
}

// storeSums stores mr rows of nv vectors of sums, Y0 and on, to BX with rows R13 apart, and returns; with masked, AX is nil or the mask of the
// two vectors. Stores under a mask take many times as long on some CPUs.
func storeSums(a *asm, mr, nv int, masked bool) {
	store := func(format string) {
		for i := range mr {
			for v := range nv {
				a.op(format, nv*i+v, 32*v, 14+v)
			}
			if i < mr-1 {
				a.op("ADDQ R13, BX")
			}
		}
		a.op("VZEROUPPER")
		a.op("RET")
	}
	if masked {
		a.op("TESTQ AX, AX")
		a.op("JNE  masked")
	}
	store("VMOVDQU Y%[1]d, %[2]d(BX)")
	if masked {
		a.label("masked")
		a.op("VMOVDQU (AX), Y14")
		a.op("VMOVDQU 32(AX), Y15")
		store("VPMASKMOVD Y%[1]d, Y%[3]d, %[2]d(BX)")
	}
}

// four adds the product of group g of four rows of the weights, every result widened.
func (t narrowTile) four(a *asm, g int) {
	for i := range t.mr {
		a.op("VPBROADCASTD %s, Y11", t.row(i, 4*g))
		for v := range t.nv {
			r := 12 + v%2
			a.op("VPMADDUBSW %d(DI), Y11, Y%d", 128*g+32*v, r)
			a.op("VPMADDWD Y15, Y%[1]d, Y%[1]d", r)
			a.op("VPADDD Y%d, Y%[2]d, Y%[2]d", r, t.sum(i, v))
		}
	}
}

// pair adds the product of two groups: 16 columns of every row.
func (t narrowTile) pair(a *asm) {
	a.op("VMOVDQU (DI), Y8")
	a.op("VMOVDQU 32(DI), Y9")
	a.op("VMOVDQU 128(DI), Y10")
	for i := range t.mr {
		a.op("VPBROADCASTD %s, Y11", t.row(i, 0))
		a.op("VPMADDUBSW Y8, Y11, Y12")
		a.op("VPMADDUBSW Y9, Y11, Y13")
		a.op("VPBROADCASTD %s, Y11", t.row(i, 4))
		a.op("VPMADDUBSW Y10, Y11, Y14")
		a.op("VPMADDUBSW 160(DI), Y11, Y11")
		a.op("VPADDW Y14, Y12, Y12")
		a.op("VPADDW Y11, Y13, Y13")
		for v := range 2 {
			a.op("VPMADDWD Y15, Y%[1]d, Y%[1]d", 12+v)
			a.op("VPADDD Y%d, Y%[2]d, Y%[2]d", 12+v, t.sum(i, v))
		}
	}
}

// pairOfRow is pair for one row and all columns of a panel.
func (t narrowTile) pairOfRow(a *asm) {
	a.op("PREFETCHT0 %d(DI)", ahead)
	a.op("PREFETCHT0 %d(DI)", ahead+64)
	a.op("PREFETCHT0 %d(DI)", ahead+128)
	a.op("PREFETCHT0 %d(DI)", ahead+192)
	a.op("VPBROADCASTD (SI), Y10")
	a.op("VPBROADCASTD 4(SI), Y11")
	for v := range t.nv {
		r := 4 + v
		a.op("VPMADDUBSW %d(DI), Y10, Y%d", 32*v, r)
		a.op("VPMADDUBSW %d(DI), Y11, Y%d", 128+32*v, 12+v%2)
		a.op("VPADDW Y%d, Y%[2]d, Y%[2]d", 12+v%2, r)
		a.op("VPMADDWD Y15, Y%[1]d, Y%[1]d", r)
		a.op("VPADDD Y%d, Y%[2]d, Y%[2]d", r, t.sum(0, v))
	}
}

// ahead is how far in front of the bytes that are multiplied the weights of a single row are fetched: more than the
// L1 prefetcher looks, near what a loop of nothing but loads has under way.
const ahead = 4096

// widePairs writes the marks of narrow weights. Sums of up to 4*128 fit 16 bits.
func widePairs(a *asm, stubs *strings.Builder) {
	decl := "func widePairs256(pairs int, b *int8, wide *uint8)"
	fmt.Fprintf(stubs, "\n// widePairs256 is markWide with AVX2.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "widePairs256", 24)
	for _, l := range []string{"pairs+0(FP), DX", "b+8(FP), DI", "wide+16(FP), BX"} {
		a.op("MOVQ %s", l)
	}
	a.op("VPXOR Y7, Y7, Y7")
	a.op("VPCMPEQB Y6, Y6, Y6")
	a.op("VPABSB Y6, Y6") // bytes of 1
	a.op("MOVL $0x00800080, AX")
	a.op("VMOVD AX, X5")
	a.op("VPBROADCASTD X5, Y5")
	a.label("loop")
	a.op("VPXOR Y0, Y0, Y0")
	for v := range 4 {
		for g := range 2 {
			a.op("VMOVDQU %d(DI), Y1", 128*g+32*v)
			a.op("VPMAXSB Y7, Y1, Y2")
			a.op("VPMINSB Y7, Y1, Y1")
			a.op("VPMADDUBSW Y2, Y6, Y%d", 3+8*g)
			a.op("VPMADDUBSW Y1, Y6, Y%d", 4+8*g)
		}
		a.op("VPADDW Y11, Y3, Y3")
		a.op("VPADDW Y12, Y4, Y4")
		a.op("VPSUBW Y4, Y7, Y4")
		a.op("VPMAXSW Y3, Y0, Y0")
		a.op("VPMAXSW Y4, Y0, Y0")
	}
	a.op("VPCMPGTW Y5, Y0, Y0")
	a.op("VPMOVMSKB Y0, AX")
	a.op("TESTL AX, AX")
	a.op("SETNE (BX)")
	a.op("ADDQ $256, DI")
	a.op("INCQ BX")
	a.op("DECQ DX")
	a.op("JNE  loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

// packFours writes the packing of four rows at a time of 32 columns, their sums and the largest sum of two neighbours.
func packFours(a *asm, stubs *strings.Builder) {
	decl := "func packFours256(n int, b *uint8, ldb int, flip uint32, dst *uint8, sums *int32) int16"
	fmt.Fprintf(stubs, "\n// packFours256 is packFours with AVX2; n is not 0.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "packFours256", 50)
	for _, l := range []string{"n+0(FP), CX", "b+8(FP), SI", "ldb+16(FP), R8", "dst+32(FP), DI", "sums+40(FP), BX"} {
		a.op("MOVQ %s", l)
	}
	a.op("MOVL flip+24(FP), AX")
	a.op("VMOVD AX, X15")
	a.op("VPBROADCASTD X15, Y15")
	a.op("LEAQ (R8)(R8*2), R9")
	a.op("MOVQ R8, R10") // 32 rows ahead: prefetchers of the CPU end with a page
	a.op("SHLQ $5, R10")
	for i, to := range []string{"R11", "R12", "R13"} {
		a.op("LEAQ (%s)(R8*1), %s", []string{"R10", "R11", "R12"}[i], to)
	}
	a.op("VPCMPEQW Y14, Y14, Y14")
	a.op("VPABSB Y14, Y13") // bytes of 1
	a.op("VPSRLW $15, Y14, Y14")
	a.op("VPXOR Y12, Y12, Y12")
	for v := range 4 {
		a.op("VMOVDQU %d(BX), Y%d", 32*v, 8+v)
	}
	a.label("loop")
	for _, at := range []string{"R10", "R11", "R12", "R13"} {
		a.op("PREFETCHT0 (SI)(%s*1)", at)
	}
	for i, from := range []string{"(SI)", "(SI)(R8*1)", "(SI)(R8*2)", "(SI)(R9*1)"} {
		a.op("VPXOR %s, Y15, Y%d", from, i)
	}
	a.op("VPUNPCKLBW Y1, Y0, Y4")
	a.op("VPUNPCKHBW Y1, Y0, Y5")
	a.op("VPUNPCKLBW Y3, Y2, Y6")
	a.op("VPUNPCKHBW Y3, Y2, Y7")
	a.op("VPUNPCKLWD Y6, Y4, Y0") // columns 0 to 3 and 16 to 19
	a.op("VPUNPCKHWD Y6, Y4, Y1") // 4 and 20
	a.op("VPUNPCKLWD Y7, Y5, Y2") // 8 and 24
	a.op("VPUNPCKHWD Y7, Y5, Y3") // 12 and 28
	for v, s := range [][3]int{{0, 1, 0x20}, {2, 3, 0x20}, {0, 1, 0x31}, {2, 3, 0x31}} {
		a.op("VPERM2I128 $%d, Y%d, Y%d, Y4", s[2], s[1], s[0])
		a.op("VMOVDQU Y4, %d(DI)", 32*v)
		a.op("VPMADDUBSW Y4, Y13, Y4")
		a.op("VPABSW Y4, Y5")
		a.op("VPMAXSW Y5, Y12, Y12")
		a.op("VPMADDWD Y14, Y4, Y4")
		a.op("VPADDD Y4, Y%[1]d, Y%[1]d", 8+v)
	}
	a.op("LEAQ (SI)(R8*4), SI")
	a.op("ADDQ $128, DI")
	a.op("DECQ CX")
	a.op("JNE  loop")
	for v := range 4 {
		a.op("VMOVDQU Y%d, %d(BX)", 8+v, 32*v)
	}
	a.op("VEXTRACTI128 $1, Y12, X0")
	for _, s := range []string{"", "VPSHUFD $0x4e, X12, X0", "VPSHUFD $0xb1, X12, X0", "VPSRLD $16, X12, X0"} {
		if s != "" {
			a.op(s)
		}
		a.op("VPMAXSW X0, X12, X12")
	}
	a.op("VMOVD X12, AX")
	a.op("MOVW AX, ret+48(FP)")
	a.op("VZEROUPPER")
	a.op("RET")
}
