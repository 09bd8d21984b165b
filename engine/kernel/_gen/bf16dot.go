package main

import (
	"fmt"
	"strings"
)

const dotDoc = `It computes
// c[i][j] += a[i][2q+1]*b[2q+1][j] and then a[i][2q]*b[2q][j] over q < k, from c[i][j] if acc is not 0 and else from 0, by VDPBF16PS.
// a and b are bfloat16, b with the elements of a column side by side. Strides are in bytes.`

// bf16DotFiles writes the products of bfloat16 on vectors: the micro-kernels of float32, in which an element is a pair.
func bf16DotFiles() []file {
	var s strings.Builder
	fmt.Fprintf(&s, goHead, "bf16dot.go")
	a := newAsm("bf16dot.go")
	t := tile{isa: "Z", masked: true, aType: "uint16", bType: "uint16", cType: "float32", load: "VMOVUPS", store: "VMOVUPS", bc: "VPBROADCASTD",
		acc: true, doc: dotDoc, unroll: 4, dot: true}
	wide, narrow := t, t
	wide.name, wide.nv, wide.prefetch = "gemmDot512x32m", 2, true
	narrow.name, narrow.nv, narrow.embedBroadcast = "gemmDot512x16m", 1, true
	for _, t := range []tile{wide, narrow} {
		for mr := 1; mr <= 12; mr++ {
			t.kernel(a, mr)
		}
		t.stub(&s, 12)
	}
	v := vecTile{isa: "Z", elem: "float32", bc: "VPBROADCASTD", load: "VMOVUPS", acc: true, dot: true, name: "gemvDot512m"}
	for mr := 1; mr <= v.maxRows(); mr++ {
		v.kernel(a, &s, mr)
	}
	roundRows(a, &s)
	return []file{a.file("bf16dot_amd64.s"), {"bf16dot_stubs_amd64.go", []byte(s.String())}}
}

// roundRows writes the rounding of rows to bfloat16.
func roundRows(a *asm, stubs *strings.Builder) {
	decl := "func roundRowsBF16(dst *uint16, ldd, step int, src *float32, lds, rows, k int)"
	fmt.Fprintf(stubs, "\n// roundRowsBF16 rounds rows of k numbers (k > 0), lds bytes apart, to bfloat16: rows of dst are ldd bytes apart, and every 32 columns of a row\n"+
		"// step bytes from those before; the last are filled up with zeros.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "roundRowsBF16", 56)
	for _, l := range []string{"dst+0(FP), DI", "ldd+8(FP), R12", "step+16(FP), R13", "src+24(FP), SI", "lds+32(FP), R8", "rows+40(FP), DX", "k+48(FP), R9"} {
		a.op("MOVQ %s", l)
	}
	a.op("MOVQ R9, CX")
	a.op("ANDQ $31, CX")
	a.op("MOVQ $1, AX")
	a.op("SHLQ CX, AX")
	a.op("DECQ AX")
	a.op("KMOVW AX, K1")
	a.op("SHRQ $16, AX")
	a.op("KMOVW AX, K2")
	a.label("row")
	a.op("MOVQ SI, R10")
	a.op("MOVQ DI, R11")
	a.op("MOVQ R9, CX")
	a.op("SUBQ $32, CX")
	a.op("JLT  tail")
	a.label("loop")
	a.op("VMOVUPS 64(R10), Z1")
	a.inst(cvtTwoBF16("Z", 0, 1, mem{base: "R10"}))
	a.op("VMOVDQU64 Z0, (R11)")
	a.op("ADDQ $128, R10")
	a.op("ADDQ R13, R11")
	a.op("SUBQ $32, CX")
	a.op("JGE  loop")
	a.label("tail")
	a.op("ADDQ $32, CX")
	a.op("JEQ  next")
	a.op("VMOVUPS.Z (R10), K1, Z0")
	a.op("VMOVUPS.Z 64(R10), K2, Z1")
	a.inst(cvtTwoBF16("Z", 0, 1, regNum(0)))
	a.op("VMOVDQU64 Z0, (R11)")
	a.label("next")
	a.op("ADDQ R8, SI")
	a.op("ADDQ R12, DI")
	a.op("DECQ DX")
	a.op("JNE  row")
	a.op("VZEROUPPER")
	a.op("RET")
}
