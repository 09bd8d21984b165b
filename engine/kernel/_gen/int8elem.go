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
