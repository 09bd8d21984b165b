package main

import (
	"fmt"
	"strings"
)

// digitsFiles writes the product of a vector and a matrix, both in three digits of 8 bits: of the nine products of digits the six
// that matter.
func digitsFiles() []file {
	var stubs strings.Builder
	fmt.Fprintf(&stubs, goHead, "digits.go")
	a := newAsm("digits.go")
	const fields = "fields: groups 0, panels 8, w 16, a 24, c 32, start [3]int32 40"
	decl := "func digitsGemv(x *digitsArgs)"
	fmt.Fprintf(&stubs, "\n// digitsGemv adds the product to c, panel by panel of 32 columns.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl+"\n"+fields, "digitsGemv", 8)
	a.op("MOVQ x+0(FP), DX")
	for _, l := range []string{"0(DX), R8", "8(DX), R12", "16(DX), DI", "32(DX), BX"} {
		a.op("MOVQ %s", l)
	}
	a.op("MOVL $0x43800000, AX") // 256
	a.op("VPBROADCASTD AX, Z30")
	a.op("MOVL $0x47800000, AX") // 65536
	a.op("VPBROADCASTD AX, Z31")
	acc := func(i, v int) string { return fmt.Sprintf("Z%d", 2*i+v) }
	// Sums 0 to 5: digits (w, a) = (2,2) | (2,1) (1,2) | (2,0) (1,1) (0,2). The first of each power starts at what the
	// offset of 128 in the digits of the weights adds, negated.
	pairs := [6][2]int{{2, 2}, {2, 1}, {1, 2}, {2, 0}, {1, 1}, {0, 2}}
	first := map[int]int{0: 0, 1: 1, 3: 2}
	a.label("panel")
	for i := range pairs {
		for v := range 2 {
			if f, ok := first[i]; ok {
				a.op("VPBROADCASTD %d(DX), %s", 40+4*f, acc(i, v))
			} else {
				a.op("VPXORD %[1]s, %[1]s, %[1]s", acc(i, v))
			}
		}
	}
	a.op("MOVQ 24(DX), SI")
	a.op("MOVQ R8, CX")
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("group")
	for p := range 3 {
		a.op("VPBROADCASTD %d(SI), Z%d", 4*p, 18+p)
	}
	for q := range 3 {
		for v := range 2 {
			a.op("VMOVDQU32 %d(DI), Z%d", 128*q+64*v, 12+2*q+v)
		}
	}
	for i, p := range pairs {
		for v := range 2 {
			a.op("VPDPBUSD Z%d, Z%d, %s", 18+p[1], 12+2*p[0]+v, acc(i, v))
		}
	}
	a.op("ADDQ $12, SI")
	a.op("ADDQ $384, DI")
	a.op("DECQ CX")
	a.op("JNE  group")
	for v := range 2 {
		a.op("VPADDD %s, %s, %s", acc(2, v), acc(1, v), acc(1, v))
		a.op("VPADDD %s, %s, %s", acc(4, v), acc(3, v), acc(3, v))
		a.op("VPADDD %s, %s, %s", acc(5, v), acc(3, v), acc(3, v))
	}
	for _, i := range []int{0, 1, 3} {
		for v := range 2 {
			a.op("VCVTDQ2PS %s, %s", acc(i, v), acc(i, v))
		}
	}
	for v := range 2 {
		a.op("VFMADD231PS %s, Z30, %s", acc(1, v), acc(3, v))
		a.op("VFMADD231PS %s, Z31, %s", acc(0, v), acc(3, v))
		a.op("VMOVUPS %d(DI), Z%d", 64*v, 22+v)
		a.op("VFMADD213PS %d(BX), %s, Z%d", 64*v, acc(3, v), 22+v)
		a.op("VMOVUPS Z%d, %d(BX)", 22+v, 64*v)
	}
	a.op("ADDQ $128, DI")
	a.op("ADDQ $128, BX")
	a.op("DECQ R12")
	a.op("JNE  panel")
	a.op("VZEROUPPER")
	a.op("RET")
	return []file{a.file("digits_amd64.s"), {"digits_stubs_amd64.go", []byte(stubs.String())}}
}
