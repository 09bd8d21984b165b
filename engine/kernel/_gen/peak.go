package main

import (
	"fmt"
	"strings"
)

// peakFiles writes loops that do nothing but multiply-adds (24 independent chains of 512 bits, 12 of 256, or 4 of tiles), or loads.
func peakFiles() []file {
	a := newAsm("peak.go")
	var s strings.Builder
	fmt.Fprintf(&s, goHead, "peak.go")
	for _, p := range []struct {
		name, op, reg string
		chains        int
	}{
		{"peakFMA512", "VFMADD231PS", "Z", 24}, {"peakFMA256", "VFMADD231PS", "Y", 12}, {"peakVNNI512", "VPDPBUSD", "Z", 24},
		{"peakVNNI256", "VPDPBUSD", "Y", 12}, {"peakDotBF16", "VDPBF16PS", "Z", 24},
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
			if p.op == "VDPBF16PS" {
				a.inst(dotBF16("Z", i, p.chains+1, regNum(p.chains), false))
				continue
			}
			if p.op == "VPDPBUSD" && p.reg == "Y" {
				a.inst(dotU8S8VEX("Y", i, p.chains+1, regNum(p.chains)))
				continue
			}
			a.op("%s %s%d, %s%d, %s%d", p.op, p.reg, p.chains, p.reg, p.chains+1, p.reg, i)
		}
		a.op("DECQ CX")
		a.op("JNE  loop")
		a.op("VZEROUPPER")
		a.op("RET")
	}
	for _, p := range []struct {
		name, op string
		dot      func(c, a, b int) inst
	}{{"peakTilesInt8", "TDPBUSD", tileDotU8S8}, {"peakTilesBF16", "TDPBF16PS", tileDotBF16}} {
		decl := fmt.Sprintf("func %s(n int, config *tileShapes)", p.name)
		fmt.Fprintf(&s, "\n// %s runs n rounds of 4 independent %s.\n//\n//go:noescape\n%s\n", p.name, p.op, decl)
		a.text(decl, p.name, 16)
		a.op("MOVQ n+0(FP), CX")
		a.op("MOVQ config+8(FP), AX")
		a.inst(tileConfig(mem{base: "AX"}))
		a.label("loop")
		for i := range 4 {
			a.inst(p.dot(i, 4+i/2, 6+i%2))
		}
		a.op("DECQ CX")
		a.op("JNE  loop")
		a.inst(tileRelease())
		a.op("RET")
	}
	for _, isa := range []string{"Y", "Z"} {
		name, w := map[string]string{"Y": "peakRead256", "Z": "peakRead512"}[isa], map[string]int{"Y": 32, "Z": 64}[isa]
		decl := fmt.Sprintf("func %s(x *byte, n int)", name)
		fmt.Fprintf(&s, "\n// %s reads n bytes, a multiple of 256 and not 0.\n//\n//go:noescape\n%s\n", name, decl)
		a.text(decl, name, 16)
		a.op("MOVQ x+0(FP), SI")
		a.op("MOVQ n+8(FP), CX")
		a.label("loop")
		for i := range 256 / w {
			a.op("VMOVUPS %d(SI), %s%d", w*i, isa, i)
		}
		a.op("ADDQ $256, SI")
		a.op("SUBQ $256, CX")
		a.op("JG   loop")
		a.op("VZEROUPPER")
		a.op("RET")
	}
	return []file{a.file("peak_amd64.s"), {"peak_stubs_amd64.go", []byte(s.String())}}
}
