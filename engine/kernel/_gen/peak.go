package main

import (
	"fmt"
	"strings"
)

// peakFiles writes loops that do nothing but multiply-adds (24 independent chains of 512 bits, or 12 of 256), or loads.
func peakFiles() []file {
	a := newAsm("peak.go")
	var s strings.Builder
	fmt.Fprintf(&s, goHead, "peak.go")
	for _, p := range []struct {
		name, op, reg string
		chains        int
	}{
		{"peakFMA512", "VFMADD231PS", "Z", 24}, {"peakFMA256", "VFMADD231PS", "Y", 12}, {"peakVNNI512", "VPDPBUSD", "Z", 24},
	} {
		decl := fmt.Sprintf("func %s(n int)", p.name)
		fmt.Fprintf(&s, "\n// %s runs n rounds of %d independent %s.\n//\n//go:noescape\n%s\n", p.name, p.chains, p.op, decl)
		a.text(decl, p.name, 8)
		a.op("MOVQ n+0(FP), CX")
		xor := map[string]string{"Z": "VPXORD", "Y": "VPXOR"}[p.reg]
		for i := range p.chains + 2 {
			a.op("%s %s%d, %s%d, %s%d", xor, p.reg, i, p.reg, i, p.reg, i)
		}
		a.label("loop")
		for i := range p.chains {
			a.op("%s %s%d, %s%d, %s%d", p.op, p.reg, p.chains, p.reg, p.chains+1, p.reg, i)
		}
		a.op("DECQ CX")
		a.op("JNE  loop")
		a.op("VZEROUPPER")
		a.op("RET")
	}
	decl := "func peakRead256(x *byte, n int)"
	fmt.Fprintf(&s, "\n// peakRead256 reads n bytes, a multiple of 256 and not 0.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "peakRead256", 16)
	a.op("MOVQ x+0(FP), SI")
	a.op("MOVQ n+8(FP), CX")
	a.label("loop")
	for i := range 8 {
		a.op("VMOVUPS %d(SI), Y%d", 32*i, i)
	}
	a.op("ADDQ $256, SI")
	a.op("SUBQ $256, CX")
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
	return []file{a.file("peak_amd64.s"), {"peak_stubs_amd64.go", []byte(s.String())}}
}
