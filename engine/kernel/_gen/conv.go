package main

import (
	"fmt"
	"strings"
)

// convFiles writes the packers of convolutions: one vector of columns for all k, put together from pieces of image rows.
func convFiles() []file {
	a := newAsm("conv.go")
	var s strings.Builder
	fmt.Fprintf(&s, goHead, "conv.go")
	s.WriteString("\n// convPiece is a part of a vector of columns that is contiguous in the image: lane i, if its mask is set, is at delta + 4*i bytes.\n")
	s.WriteString("type convPiece struct {\n\tdelta int\n\tbits  uint64\n\tmask  [8]int32\n}\n")
	for _, name := range []string{"packConv512", "packConv256", "packConvTail256"} { // a masked store is slow without AVX-512: only where it must be
		isa := "Y"
		if name == "packConv512" {
			isa = "Z"
		}
		decl := fmt.Sprintf("func %s(dst *float32, stride int, src *float32, offs *int, k int, pieces *convPiece, n int, store *convPiece)", name)
		fmt.Fprintf(&s, "\n// %s writes one vector of k rows: the n pieces at src + 4*offs[q]. stride is in bytes.\n//\n//go:noescape\n%s\n", name, decl)
		a.text(decl, name, 64)
		for _, l := range []string{"dst+0(FP), DI", "stride+8(FP), R8", "src+16(FP), SI", "offs+24(FP), R9", "k+32(FP), DX", "pieces+40(FP), R10", "n+48(FP), R11", "store+56(FP), R12"} {
			a.op("MOVQ %s", l)
		}
		if isa == "Z" {
			a.op("KMOVW 8(R12), K2")
		} else if name == "packConvTail256" {
			a.op("VMOVDQU 16(R12), Y2")
		}
		a.label("row")
		a.op("MOVQ (R9), R13")
		a.op("LEAQ (SI)(R13*4), R13")
		a.op("MOVQ R10, BX")
		a.op("MOVQ R11, CX")
		a.op("VPXOR X0, X0, X0")
		a.label("piece")
		a.op("MOVQ (BX), AX")
		if isa == "Z" {
			a.op("KMOVW 8(BX), K1")
			a.op("VMOVUPS (R13)(AX*1), K1, Z0")
		} else {
			a.op("VMOVDQU 16(BX), Y1")
			a.op("VMASKMOVPS (R13)(AX*1), Y1, Y1")
			a.op("VORPS Y1, Y0, Y0")
		}
		a.op("ADDQ $48, BX")
		a.op("DECQ CX")
		a.op("JNE  piece")
		if isa == "Z" {
			a.op("VMOVUPS Z0, K2, (DI)")
		} else if name == "packConvTail256" {
			a.op("VMASKMOVPS Y0, Y2, (DI)")
		} else {
			a.op("VMOVUPS Y0, (DI)")
		}
		a.op("ADDQ $8, R9")
		a.op("ADDQ R8, DI")
		a.op("DECQ DX")
		a.op("JNE  row")
		a.op("VZEROUPPER")
		a.op("RET")
	}
	packRun(a, &s)
	return []file{a.file("gemm_conv_amd64.s"), {"gemm_conv_stubs_amd64.go", []byte(s.String())}}
}

// packRun writes the packer of columns that are contiguous in the image, of 8 or of 16.
func packRun(a *asm, s *strings.Builder) {
	for vecs := 1; vecs <= 2; vecs++ {
		name := fmt.Sprintf("packRun256x%d", vecs)
		decl := fmt.Sprintf("func %s(dst *float32, stride int, src *float32, offs *int, k int)", name)
		fmt.Fprintf(s, "\n// %s writes %d columns of k rows: row q from src + 4*offs[q] on. stride is in bytes.\n//\n//go:noescape\n%s\n", name, 8*vecs, decl)
		a.text(decl, name, 40)
		for _, l := range []string{"dst+0(FP), DI", "stride+8(FP), R8", "src+16(FP), SI", "offs+24(FP), R9", "k+32(FP), DX"} {
			a.op("MOVQ %s", l)
		}
		a.label("row")
		a.op("MOVQ (R9), R13")
		for v := range vecs {
			a.op("VMOVUPS %d(SI)(R13*4), Y%d", 32*v, v)
		}
		for v := range vecs {
			a.op("VMOVUPS Y%d, %d(DI)", v, 32*v)
		}
		a.op("ADDQ $8, R9")
		a.op("ADDQ R8, DI")
		a.op("DECQ DX")
		a.op("JNE  row")
		a.op("VZEROUPPER")
		a.op("RET")
	}
}
