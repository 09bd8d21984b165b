package main

import (
	"fmt"
	"strings"
)

// neonEpilogue is the epilogue of epilogue.go in NEON, with the same arguments:
//
//	R0 args; R1 rows left; R2 row of C, R3 of the residual; R4 alpha, R5 rowBias, R6 az, R7 rowSum;
//	R8 C, R9 bias, R10 residual, R11 colSum, R12 colZero, R13 scale (R22 sums of rows at R21: they move along the row); R14 columns left; R15 to R17, R19 increments
type neonEpilogue struct {
	int8 bool
	name string
}

func (e neonEpilogue) code(a *asm) {
	a.text(fmt.Sprintf("func %s(args *epArgs)", e.name), e.name, 8)
	field := func(name, reg string) { a.op("MOVD %d(R0), %s", epOff(name), reg) }
	a.op("MOVD args+0(FP), R0")
	for _, f := range [][2]string{{"m", "R1"}, {"c", "R2"}, {"res", "R3"}, {"alpha", "R4"}, {"rowBias", "R5"}, {"limits", "R8"}} {
		field(f[0], f[1])
	}
	a.op("VLD1R.P 4(R8), [V4.S4]")
	a.op("VLD1R (R8), [V5.S4]")
	field("biasInc", "R15")
	field("resInc", "R16")
	if e.int8 {
		field("az", "R6")
		field("rowSum", "R7")
		field("colZeroInc", "R17")
		field("scaleInc", "R19")
		field("sums", "R21")
	}
	a.label("row")
	a.op("VLD1R (R4), [V2.S4]")
	a.op("VLD1R (R5), [V3.S4]")
	if e.int8 {
		a.op("VLD1R (R6), [V8.S4]")
		a.op("VLD1R (R7), [V9.S4]")
		field("colSum", "R11")
		field("colZero", "R12")
		field("scale", "R13")
		a.op("MOVD R21, R22")
	}
	a.op("MOVD R2, R8")
	a.op("MOVD R3, R10")
	field("bias", "R9")
	field("n", "R14")
	a.op("SUBS $4, R14, R14")
	a.op("BLT tail")
	a.label("loop")
	e.body(a, 4, func(reg string, v int) {
		inc := map[string]string{"R9": "R15", "R10": "R16", "R12": "R17", "R13": "R19"}[reg]
		switch {
		case inc != "":
			a.op("VLD1.P (%s)(%s), [V%d.S4]", reg, inc, v)
		case reg == "R8":
			a.op("FMOVQ (%s), F%d", reg, v)
		default:
			a.op("FMOVQ.P 16(%s), F%d", reg, v)
		}
	})
	a.op("SUBS $4, R14, R14")
	a.op("BGE loop")
	a.label("tail")
	a.op("ADDS $4, R14, R14")
	a.op("BEQ next")
	a.op("CMP $2, R14")
	a.op("BEQ two")
	a.op("BGT three")
	e.tail(a, 1)
	a.op("B next")
	a.label("two")
	e.tail(a, 2)
	a.op("B next")
	a.label("three")
	e.tail(a, 3)
	a.label("next")
	for _, f := range [][2]string{{"ldc", "R2"}, {"ldr", "R3"}, {"alphaInc", "R4"}, {"rowBiasInc", "R5"}} {
		field(f[0], "R8")
		a.op("ADD R8, %s", f[1])
	}
	if e.int8 {
		field("azInc", "R8")
		a.op("ADD R8, R6")
		field("rowSumInc", "R8")
		a.op("ADD R8, R7")
		field("lds", "R8")
		a.op("ADD R8, R21")
	}
	a.op("SUBS $1, R1, R1")
	a.op("BNE row")
	a.op("RET")
}

func (e neonEpilogue) tail(a *asm, n int) {
	e.body(a, n, func(reg string, v int) {
		if n == 3 {
			a.op("ADD $8, %s, R20", reg)
		}
		a.partial(false, n, reg, "R20", v)
	})
}

// body computes n elements in V0.
func (e neonEpilogue) body(a *asm, n int, load func(reg string, v int)) {
	if e.int8 {
		load("R22", 0)
		load("R11", 1)
		a.neon("mls", 0, 1, 8)
		load("R12", 1)
		a.neon("mls", 0, 1, 9)
		a.neon("scvtf", 0, 0)
		load("R13", 1)
		a.neon("fmul", 1, 1, 2)
		a.neon("fmul", 0, 0, 1)
	} else {
		load("R8", 0)
		a.neon("fmul", 0, 0, 2)
	}
	a.neon("fadd", 0, 0, 3)
	load("R9", 1)
	a.neon("fadd", 0, 0, 1)
	load("R10", 1)
	a.neon("fadd", 0, 0, 1)
	a.neon("fmax", 0, 0, 4) // NaN stays, and -0 becomes 0
	a.neon("fmin", 0, 0, 5)
	if n == 4 {
		a.op("FMOVQ.P F0, 16(R8)")
		return
	}
	if n == 3 {
		a.op("ADD $8, R8, R20")
	}
	a.partial(true, n, "R8", "R20", 0)
}

func neonEpilogueFiles() []file {
	a := newARM("neonepilogue.go")
	var s strings.Builder
	s.WriteString(armHead("neonepilogue.go"))
	for _, e := range []neonEpilogue{{false, "epilogueNEON"}, {true, "dequantizeNEON"}} {
		e.code(a)
		fmt.Fprintf(&s, "\n//go:noescape\nfunc %s(args *epArgs)\n", e.name)
	}
	return []file{a.file("gemm_neon_epilogue_arm64.s"), goFile("gemm_neon_epilogue_stubs_arm64.go", s.String())}
}
