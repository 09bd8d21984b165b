package main

import (
	"fmt"
	"strings"
)

// epFields are the fields of epArgs, eight bytes each, in order. Strides and increments are in bytes; an absent term
// points at a neutral constant with increment 0.
var epFields = []string{
	"m", "n", "c", "ldc", // rows, columns, C
	"alpha", "alphaInc", // factor of each row (int8: the scale of A)
	"rowBias", "rowBiasInc",
	"bias", "biasInc", // biasInc is 4 or 0 per column
	"res", "ldr", "resInc",
	"limits",                                // lo, hi and the zero added after the lower limit
	"colSum", "colZero", "colZeroInc", "az", // int8: B's column sums and zero points, A's zero points
	"azInc", "rowSum", "rowSumInc", "scale", "scaleInc",
	"tail",        // AVX2: mask of the last, partial vector
	"sums", "lds", // int8: where the sums are
	"colTerm", "colFactor", // int8, plain: room for the terms of columns
}

var epTypes = map[string]string{
	"c": "*float32", "alpha": "*float32", "rowBias": "*float32", "bias": "*float32", "res": "*float32", "limits": "*[3]float32",
	"colSum": "*int32", "colZero": "*int32", "az": "*int32", "rowSum": "*int32", "scale": "*float32", "tail": "*int32",
	"sums": "*int32", "colTerm": "*int32", "colFactor": "*float32",
}

func epOff(name string) int {
	for i, f := range epFields {
		if f == name {
			return 8 * i
		}
	}
	panic(name)
}

// epilogue emits the function name: on every element x of the rows, x = min(max(x*alpha + rowBias + bias + res, lo) + zero, hi); for int8,
// x is first float(sum - az*colSum - rowSum*colZero), and the factor is alpha*scale. The plain form is for one az and alpha, without rowSum and
// rowBias: what concerns columns alone is computed once. The bare form leaves out res and the limits, too.
type epilogue struct {
	isa               string
	int8, plain, bare bool
	name              string
}

func (e epilogue) reg(n int) string { return fmt.Sprintf("%s%d", e.isa, n) }

// kernel: AX args; BX c, SI bias, DI res, R8 colSum, R9 colZero, R10 scale (column pointers); CX columns left; DX rows left.
func (e epilogue) kernel(a *asm, stubs *strings.Builder) {
	decl := fmt.Sprintf("func %s(args *epArgs)", e.name)
	fmt.Fprintf(stubs, "\n//go:noescape\n%s\n", decl)
	a.text(decl, e.name, 8)
	r := e.reg
	a.op("MOVQ args+0(FP), AX")
	a.op("MOVQ %d(AX), DX", epOff("m"))
	a.op("MOVQ %d(AX), R11", epOff("c"))
	a.op("MOVQ %d(AX), R12", epOff("res"))
	a.op("MOVQ %d(AX), R13", epOff("alpha"))
	a.op("MOVQ %d(AX), R15", epOff("rowBias"))
	a.op("MOVQ %d(AX), CX", epOff("limits"))
	if e.plain {
		e.columns(a)
		a.op("MOVQ %d(AX), CX", epOff("limits"))
	}
	a.op("VBROADCASTSS (CX), %s", r(4))
	a.op("VBROADCASTSS 4(CX), %s", r(5))
	a.op("VBROADCASTSS 8(CX), %s", r(6))
	if e.int8 && !e.plain {
		a.op("VMOVQ %d(AX), X12", epOff("rowSum")) // the row sum pointer waits in a vector register
	}
	if e.isa == "Z" {
		a.op("MOVQ %d(AX), CX", epOff("n"))
		a.op("ANDQ $15, CX")
		a.op("MOVL $1, R14")
		a.op("SHLL CX, R14")
		a.op("DECL R14")
		a.op("KMOVW R14, K1")
	} else {
		a.op("MOVQ %d(AX), CX", epOff("tail"))
		a.op("VMOVDQU (CX), Y7")
	}
	if e.int8 {
		a.op("MOVQ %d(AX), R14", epOff("az"))
		a.op("MOVQ %d(AX), DX", epOff("sums")) // the distance of the sums from C
		a.op("SUBQ R11, DX")
	}
	a.label("row")
	a.op("VBROADCASTSS (R13), %s", r(2))
	a.op("VBROADCASTSS (R15), %s", r(3))
	switch {
	case e.plain:
		a.op("MOVQ %d(AX), R8", epOff("colTerm"))
		a.op("MOVQ %d(AX), R10", epOff("colFactor"))
	case e.int8:
		a.op("VPBROADCASTD (R14), %s", r(8))
		a.op("VMOVQ X12, BX")
		a.op("VPBROADCASTD (BX), %s", r(9))
		a.op("ADDQ %d(AX), BX", epOff("rowSumInc"))
		a.op("VMOVQ BX, X12")
		a.op("MOVQ %d(AX), R8", epOff("colSum"))
		a.op("MOVQ %d(AX), R9", epOff("colZero"))
		a.op("MOVQ %d(AX), R10", epOff("scale"))
	}
	a.op("MOVQ R11, BX")
	a.op("MOVQ R12, DI")
	a.op("MOVQ %d(AX), SI", epOff("bias"))
	a.op("MOVQ %d(AX), CX", epOff("n"))
	w := map[string]int{"Z": 16, "Y": 8}[e.isa]
	a.op("SUBQ $%d, CX", w)
	a.op("JLT  tail")
	a.label("loop")
	e.body(a, false)
	for _, p := range e.columnPointers() {
		if p[1] == "" {
			a.op("ADDQ $%d, %s", 4*w, p[0])
		} else {
			a.op("ADDQ %d(AX), %s", epOff(p[1]), p[0])
		}
	}
	a.op("SUBQ $%d, CX", w)
	a.op("JGE  loop")
	a.label("tail")
	a.op("ADDQ $%d, CX", w)
	a.op("JEQ  next")
	e.body(a, true)
	a.label("next")
	a.op("ADDQ %d(AX), R11", epOff("ldc"))
	a.op("ADDQ %d(AX), R12", epOff("ldr"))
	a.op("ADDQ %d(AX), R13", epOff("alphaInc"))
	a.op("ADDQ %d(AX), R15", epOff("rowBiasInc"))
	if e.int8 {
		a.op("ADDQ %d(AX), R14", epOff("azInc"))
	}
	if e.int8 {
		a.op("ADDQ %d(AX), DX", epOff("lds"))
		a.op("SUBQ %d(AX), DX", epOff("ldc"))
		a.op("DECQ %d(AX)", epOff("m"))
	} else {
		a.op("DECQ DX")
	}
	a.op("JNE  row")
	a.op("VZEROUPPER")
	a.op("RET")
}

// columnPointers lists the registers that move along a row, with the field that says how far ("" for one vector).
func (e epilogue) columnPointers() [][2]string {
	p := [][2]string{{"BX", ""}, {"SI", "biasInc"}, {"DI", "resInc"}}
	switch {
	case e.bare:
		p = append(p[:2], [][2]string{{"R8", ""}, {"R10", ""}}...)
	case e.plain:
		p = append(p, [][2]string{{"R8", ""}, {"R10", ""}}...)
	case e.int8:
		p = append(p, [][2]string{{"R8", ""}, {"R9", "colZeroInc"}, {"R10", "scaleInc"}}...)
	}
	return p
}

func (e epilogue) body(a *asm, tail bool) {
	r := e.reg
	load := func(from, to string) {
		switch {
		case !tail:
			a.op("VMOVUPS %s, %s", from, to)
		case e.isa == "Z":
			a.op("VMOVUPS.Z %s, K1, %s", from, to)
		default:
			a.op("VMASKMOVPS %s, Y7, %s", from, to)
		}
	}
	if !e.int8 {
		load("(BX)", r(0))
	}
	switch {
	case e.plain:
		load("(BX)(DX*1)", r(0))
		load("(R8)", r(1))
		a.op("VPSUBD %s, %s, %s", r(1), r(0), r(0))
		a.op("VCVTDQ2PS %s, %s", r(0), r(0))
		load("(R10)", r(1))
		a.op("VMULPS %s, %s, %s", r(1), r(0), r(0))
	case e.int8:
		load("(BX)(DX*1)", r(0))
		load("(R8)", r(1))
		a.op("VPMULLD %s, %s, %s", r(8), r(1), r(1))
		a.op("%s %s, %s, %s", "VPSUBD", r(1), r(0), r(0))
		load("(R9)", r(1))
		a.op("VPMULLD %s, %s, %s", r(9), r(1), r(1))
		a.op("%s %s, %s, %s", "VPSUBD", r(1), r(0), r(0))
		a.op("VCVTDQ2PS %s, %s", r(0), r(0))
		load("(R10)", r(1))
		a.op("VMULPS %s, %s, %s", r(2), r(1), r(1))
		a.op("VMULPS %s, %s, %s", r(1), r(0), r(0))
	default:
		a.op("VMULPS %s, %s, %s", r(2), r(0), r(0))
	}
	if !e.plain {
		a.op("VADDPS %s, %s, %s", r(3), r(0), r(0))
	}
	load("(SI)", r(1))
	a.op("VADDPS %s, %s, %s", r(1), r(0), r(0))
	if !e.bare {
		load("(DI)", r(1))
		a.op("VADDPS %s, %s, %s", r(1), r(0), r(0))
		a.op("VMAXPS %s, %s, %s", r(0), r(4), r(0)) // the second source, x, wins if it is a NaN
		a.op("VADDPS %s, %s, %s", r(6), r(0), r(0))
		a.op("VMINPS %s, %s, %s", r(0), r(5), r(0))
	}
	switch {
	case !tail:
		a.op("VMOVUPS %s, (BX)", r(0))
	case e.isa == "Z":
		a.op("VMOVUPS %s, K1, (BX)", r(0))
	default:
		a.op("VMASKMOVPS %s, Y7, (BX)", r(0))
	}
}

// columns computes az*colSum and alpha*scale for all columns, filled up to whole vectors: both arrays have room for that.
func (e epilogue) columns(a *asm) {
	r := e.reg
	w := map[string]int{"Z": 16, "Y": 8}[e.isa]
	a.op("MOVQ %d(AX), R8", epOff("colSum"))
	a.op("MOVQ %d(AX), R9", epOff("colTerm"))
	a.op("MOVQ %d(AX), R10", epOff("scale"))
	a.op("MOVQ %d(AX), SI", epOff("colFactor"))
	a.op("MOVQ %d(AX), DI", epOff("az"))
	a.op("VPBROADCASTD (DI), %s", r(0))
	a.op("VBROADCASTSS (R13), %s", r(1))
	a.op("MOVQ %d(AX), CX", epOff("n"))
	whole := func(load func(from, to string)) {
		load("(R8)", r(2))
		a.op("VPMULLD %s, %s, %s", r(0), r(2), r(2))
		a.op("VMOVUPS %s, (R9)", r(2))
		load("(R10)", r(3))
		a.op("VMULPS %s, %s, %s", r(1), r(3), r(3))
		a.op("VMOVUPS %s, (SI)", r(3))
	}
	a.op("SUBQ $%d, CX", w)
	a.op("JLT  columnsTail")
	a.label("columns")
	whole(func(from, to string) { a.op("VMOVUPS %s, %s", from, to) })
	for _, p := range []string{"R8", "R9", "SI"} {
		a.op("ADDQ $%d, %s", 4*w, p)
	}
	a.op("ADDQ %d(AX), R10", epOff("scaleInc"))
	a.op("SUBQ $%d, CX", w)
	a.op("JGE  columns")
	a.label("columnsTail")
	a.op("ADDQ $%d, CX", w)
	a.op("JEQ  columnsDone")
	if e.isa == "Z" {
		a.op("MOVL $1, R14")
		a.op("SHLL CX, R14")
		a.op("DECL R14")
		a.op("KMOVW R14, K1")
		whole(func(from, to string) { a.op("VMOVUPS.Z %s, K1, %s", from, to) })
	} else {
		a.op("MOVQ %d(AX), CX", epOff("tail"))
		a.op("VMOVDQU (CX), Y7")
		whole(func(from, to string) { a.op("VMASKMOVPS %s, Y7, %s", from, to) })
	}
	a.label("columnsDone")
}

// epilogueFiles writes the epilogues of both instruction sets.
func epilogueFiles() []file {
	var s, t strings.Builder
	fmt.Fprintf(&s, goHead, "epilogue.go")
	t.WriteString("// Code generated by _gen/epilogue.go; DO NOT EDIT.\n\n//go:build (amd64 || arm64) && !noasm\n\npackage kernel\n")
	t.WriteString("\n// epArgs are the arguments of the epilogues in assembly: strides and increments in bytes; a term that is absent points\n")
	t.WriteString("// at a neutral constant with increment 0.\ntype epArgs struct {\n")
	for _, f := range epFields {
		kind := epTypes[f]
		if kind == "" {
			kind = "int"
		}
		fmt.Fprintf(&t, "\t%-10s %s\n", f, kind)
	}
	t.WriteString("}\n")
	a := newAsm("epilogue.go")
	for _, e := range []epilogue{
		{isa: "Z", name: "epilogue512"}, {isa: "Y", name: "epilogue256"},
		{isa: "Z", int8: true, name: "dequantize512"}, {isa: "Y", int8: true, name: "dequantize256"},
		{isa: "Z", int8: true, plain: true, name: "dequantizePlain512"}, {isa: "Y", int8: true, plain: true, name: "dequantizePlain256"},
		{isa: "Z", int8: true, plain: true, bare: true, name: "dequantizeBare512"}, {isa: "Y", int8: true, plain: true, bare: true, name: "dequantizeBare256"},
	} {
		e.kernel(a, &s)
	}
	return []file{a.file("gemm_epilogue_amd64.s"), {"gemm_epilogue_stubs_amd64.go", []byte(s.String())}, goFile("gemm_epilogue_args.go", t.String())}
}
