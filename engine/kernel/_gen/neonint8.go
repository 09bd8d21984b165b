package main

import (
	"fmt"
	"strings"
)

// neonSmull is the product of bytes without dot products: A less 128 is signed, products of bytes fit 16 bits, and pairs of them are
// added to 32 bits, two sums for each column; 128 times the sum of the column comes last. Arguments and registers are those of neonGemm.
type neonSmull struct{ mr, cols int }

func (g neonSmull) name() string { return fmt.Sprintf("smullNEON%dm%d", g.cols, g.mr) }

// vecs is the number of registers that a row of B takes.
func (g neonSmull) vecs() int { return (g.cols + 3) / 4 }

func (g neonSmull) code(a *asm) {
	shape := neonGemm{g.mr, g.cols, "smull"}
	a.text("func "+g.name()+shape.signature(), g.name(), 64)
	for i, n := range []string{"k4", "a", "lda", "b", "bs", "c", "ldc", "sums"} {
		a.op("MOVD %s+%d(FP), R%d", n, 8*i, i)
	}
	a.op("MOVD R1, R8")
	for i := 1; i < g.mr; i++ {
		a.op("ADD R2, R%d, R%d", 7+i, 8+i)
	}
	vecs := g.vecs()
	acc := func(i, v, half int) int { return (i*vecs+v)*2 + half }
	firstA := g.mr * vecs * 2 // one register per row: four bytes, four times
	firstB := firstA + g.mr
	tmp, flip := firstB+vecs, 31
	a.op("VMOVI $128, V%d.B16", flip)
	for i := range firstA {
		a.clear(i)
	}
	a.label("loop")
	for i := range g.mr {
		a.op("VLD1R.P 4(R%d), [V%d.S4]", 8+i, firstA+i)
		a.three("VEOR", "B16", firstA+i, firstA+i, flip)
	}
	a.op("VLD1.P (R3)(R4), %s", vregs(firstB, vecs))
	for v := range vecs {
		for i := range g.mr {
			for half, mul := range []string{"smull", "smull2"} {
				t := tmp + (i*2+half)%(flip-tmp)
				a.neon(mul, t, firstB+v, firstA+i)
				a.neon("sadalp", acc(i, v, half), t)
			}
		}
	}
	a.op("SUBS $1, R0, R0")
	a.op("BNE loop")
	a.op("MOVD R7, R16")
	shape.row(a, false, firstB)
	for v := range vecs {
		a.op("VSHL $7, V%d.S4, V%d.S4", firstB+v, firstB+v)
	}
	a.op("MOVD R5, R16")
	for i := range g.mr {
		for v := range vecs {
			a.three("VADDP", "S4", acc(i, 0, 0)+v, acc(i, v, 0), acc(i, v, 1))
			a.three("VADD", "S4", acc(i, 0, 0)+v, acc(i, 0, 0)+v, firstB+v)
		}
		shape.row(a, true, acc(i, 0, 0))
	}
	a.op("RET")
}

// neonSmullFiles writes the products of bytes for CPUs without dot products.
func neonSmullFiles() []file {
	a := newARM("neonint8.go")
	var s strings.Builder
	s.WriteString(armHead("neonint8.go"))
	for _, cols := range []int{8, 4, 3, 2, 1} {
		for mr := 1; mr <= 4; mr++ {
			g := neonSmull{mr, cols}
			g.code(a)
			fmt.Fprintf(&s, "\n//go:noescape\nfunc %s%s\n", g.name(), neonGemm{kind: "smull"}.signature())
		}
		dispatch(&s, fmt.Sprintf("smullNEON%d", cols), 4, neonGemm{kind: "smull"}.signature(), "smull")
	}
	return []file{a.file("int8_neon_arm64.s"), goFile("int8_neon_stubs_arm64.go", s.String())}
}
