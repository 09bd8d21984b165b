package main

import (
	"fmt"
	"strings"
)

// binnedArgs is the tail of the declarations of the convolutions of binned weights.
const binnedArgs = "tiles int, ptrs *unsafe.Pointer, w *int8, size int, y *uint8, ldy int, q *convOut"

// binnedConvs writes the AVX2 convolutions of weights in bins: see packBinned in package kernel. Products of a bin are added in 16 bits and widened
// once.
func binnedConvs(a *asm, s *strings.Builder) {
	for mr := 1; mr <= 4; mr++ {
		binnedConv(a, s, mr)
	}
	fmt.Fprintf(s, "\n// convBinnedx16m computes 16 columns of tiles of mr rows, 1 to 4, by size bytes of weights.\nfunc convBinnedx16m(mr, %s) {\n\tswitch mr {\n", binnedArgs)
	for mr := 1; mr <= 4; mr++ {
		fmt.Fprintf(s, "\tcase %d:\n\t\tconvBinnedx16m%d(tiles, ptrs, w, size, y, ldy, q)\n", mr, mr)
	}
	s.WriteString("\t}\n}\n")
}

// binnedConv writes the kernel of mr rows. Registers: SI weights, R14 the end of a list of bins, R15 that of the weights, DI ptrs, R12 y, R13 tiles,
// Y0 and on the sums, Y14 sixteen ones.
func binnedConv(a *asm, s *strings.Builder, mr int) {
	name := fmt.Sprintf("convBinnedx16m%d", mr)
	decl := fmt.Sprintf("func %s(%s)", name, binnedArgs)
	fmt.Fprintf(s, "\n//go:noescape\n%s\n", decl)
	a.text(decl, name, 56)
	for _, l := range []string{"tiles+0(FP), R13", "ptrs+8(FP), DI", "w+16(FP), R15", "y+32(FP), R12"} {
		a.op("MOVQ %s", l)
	}
	a.op("ADDQ size+24(FP), R15")
	a.label("tile")
	for _, l := range []string{"q+48(FP), AX", "w+16(FP), SI", "(AX), AX"} {
		a.op("MOVQ %s", l)
	}
	for i := range mr {
		for v := range 2 {
			a.op("VMOVDQU %d(AX), Y%d", 32*v, 2*i+v)
		}
	}
	a.op("VPCMPEQW Y14, Y14, Y14")
	a.op("VPSRLW $15, Y14, Y14")
	a.label("tap")
	for i := range mr {
		a.op("MOVQ %d(DI), %s", 8*i, convRow[i])
	}
	a.op("ADDQ $%d, DI", 8*mr)
	for groups := 4; groups >= 1; groups-- {
		loop, end := fmt.Sprintf("loop%d", groups), fmt.Sprintf("end%d", groups)
		a.op("MOVQ (SI), R14")
		a.op("ADDQ $32, SI")
		a.op("ADDQ SI, R14")
		a.op("CMPQ SI, R14")
		a.op("JGE  %s", end)
		a.b.WriteString("\n\tPCALIGN $32\n")
		a.label(loop)
		binOf(a, mr, groups)
		a.op("CMPQ SI, R14")
		a.op("JLT  %s", loop)
		a.label(end)
	}
	a.op("CMPQ SI, R15")
	a.op("JLT  tap")
	for _, l := range []string{"q+48(FP), BX", "ldy+40(FP), DX", "8(BX), R8"} {
		a.op("MOVQ %s", l)
	}
	a.op("XCHGQ R12, DI") // y
	a.op("VBROADCASTSS 16(BX), Y12")
	a.op("VPBROADCASTW 20(BX), Y13")
	a.op("VPBROADCASTD 28(BX), Y14")
	for i := range mr {
		convStore16(a, 2*i)
		a.op("ADDQ DX, DI")
	}
	a.op("XCHGQ R12, DI")
	a.op("DECQ R13")
	a.op("JNE  tile")
	a.op("VZEROUPPER")
	a.op("RET")
}

// binOf adds the products of a bin of so many groups: AX, BX, CX and DX are their distances.
func binOf(a *asm, mr, groups int) {
	at := []string{"AX", "BX", "CX", "DX"}
	for g := range groups {
		a.op("MOVL %d(SI), %s", 4*g, at[g])
	}
	a.op("VMOVDQU 32(SI), Y8")
	a.op("VMOVDQU 64(SI), Y9")
	for i := range mr {
		a.op("VPBROADCASTD (%s)(AX*1), Y10", convRow[i])
		a.op("VPMADDUBSW Y8, Y10, Y12")
		a.op("VPMADDUBSW Y9, Y10, Y13")
		for g := 1; g < groups; g++ {
			a.op("VPBROADCASTD (%s)(%s*1), Y10", convRow[i], at[g])
			a.op("VPMADDUBSW %d(SI), Y10, Y11", 32+64*g)
			a.op("VPMADDUBSW %d(SI), Y10, Y15", 64+64*g)
			a.op("VPADDW Y11, Y12, Y12")
			a.op("VPADDW Y15, Y13, Y13")
		}
		for v := range 2 {
			a.op("VPMADDWD Y14, Y%[1]d, Y%[1]d", 12+v)
			a.op("VPADDD Y%d, Y%[2]d, Y%[2]d", 12+v, 2*i+v)
		}
	}
	a.op("ADDQ $%d, SI", 32+64*groups)
}
