package main

import (
	"fmt"
	"math"
	"strings"
)

// The cell of an LSTM on 256-bit registers: what vb.lstmCell computes, to the bit. As a vector program, one chain of a polynomial after the other, it
// waits for their latency: an element has more instructions than the CPU looks ahead. Here those of four vectors go side by side, each stage beside
// the stage before of the next gate, and what registers cannot hold lies in the frame. Exponents are the low bits of a sum instead of converted, and
// scale by an addition to that of the polynomial, which is exact where the result is normal: turns with larger arguments are left to the program.
// On a Zen 3 a cell takes 0.53 of the time.

const (
	cellVecs = 4                   // vectors of each gate in a turn
	cellLane = 8                   // elements of a vector
	cellMost = 86                  // the largest magnitude of an argument of the exponentials: exp(-86) is normal
	cellTurn = cellVecs * cellLane // units
)

// cellConsts are the constants by name, each in all lanes.
var cellConsts = []struct {
	name string
	bits uint32
}{
	{"sign", 1 << 31}, {"log2e", f32bits(log2e)}, {"magic", f32bits(3 << 22)}, {"ln2Hi", f32bits(ln2Hi)}, {"ln2Lo", f32bits(ln2Lo)},
	{"c0", f32bits(expC[0])}, {"c1", f32bits(expC[1])}, {"c2", f32bits(expC[2])}, {"c3", f32bits(expC[3])}, {"c4", f32bits(expC[4])},
	{"one", f32bits(1)}, {"two", f32bits(2)}, {"least", f32bits(-40)}, {"most", f32bits(-cellMost)},
}

func f32bits(f float64) uint32 { return math.Float32bits(float32(f)) }

// cellConst is the address of a constant.
func cellConst(name string) string {
	for i, c := range cellConsts {
		if c.name == name {
			return fmt.Sprintf("cellConst<>+%d(SB)", 4*cellLane*i)
		}
	}
	panic(name)
}

// Places in the frame, in vectors: what is left of the arguments of three groups of chains and the exponents of their powers; the exponentials
// of i, g, f and o; the products i g.
const (
	cellRest  = 0
	cellScale = cellRest + 3*cellVecs
	cellExp   = cellScale + 3*cellVecs
	cellIG    = cellExp + 4*cellVecs
	cellFrame = 4*cellLane*(cellIG+cellVecs) + 24 // to align it
)

func cellSlot(i int) string { return fmt.Sprintf("%d(R12)", 4*cellLane*i) }

// cellAt is vector v of the units of the turn at AX in the array at the register.
func cellAt(reg string, v int) string { return fmt.Sprintf("%d(%s)(AX*4)", 4*cellLane*v, reg) }

// cellGroup is the exponentials of four arguments at a time, or of twice those for a tanh. set is where they are in the frame.
type cellGroup struct {
	reg  string // of the array
	set  int
	tanh bool
}

// code is a list of instructions, to be merged with another.
type code []string

func (c *code) op(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

// beside writes two lists merged, each in its order and evenly spread.
func (c code) beside(a *asm, d code) {
	i, j := 0, 0
	for i < len(c) || j < len(d) {
		if j == len(d) || i < len(c) && i*len(d) <= j*len(c) {
			a.op("%s", c[i])
			i++
		} else {
			a.op("%s", d[j])
			j++
		}
	}
}

// lstmFiles writes the cell of an LSTM.
func lstmFiles() []file {
	a := newAsm("lstm.go")
	var stubs strings.Builder
	fmt.Fprintf(&stubs, goHead, "lstm.go")
	decl := "func lstmCell256(zi, zo, zf, zg, cPrev, c, h *float32, n int) (done int)"
	fmt.Fprintf(&stubs, "\n// lstmCell256 is lstmCellGo for n units, a multiple of %d; it ends before a turn of %[1]d with an argument beyond %d in magnitude or a NaN, and returns the units done.\n//\n//go:noescape\n%s\n",
		cellTurn, cellMost, decl)
	fmt.Fprintf(&a.b, "\n// %s\nTEXT ·lstmCell256(SB), 0, $%d-72\n", decl, cellFrame)
	for _, r := range []string{"zi+0(FP), DI", "zo+8(FP), SI", "zf+16(FP), DX", "zg+24(FP), CX", "cPrev+32(FP), R8", "c+40(FP), R9", "h+48(FP), R10", "n+56(FP), BX"} {
		a.op("MOVQ %s", r)
	}
	a.op("LEAQ 31(SP), R12")
	a.op("ANDQ $~31, R12")
	a.op("XORL AX, AX")
	a.op("VMOVUPS %s, Y15", cellConst("sign"))
	a.op("VMOVUPS %s, Y13", cellConst("one"))
	a.op("VMOVUPS %s, Y12", cellConst("magic"))
	a.op("VMOVAPS Y15, Y14")
	for v := range cellVecs {
		cellI.reduce(v, "AX").beside(a, nil)
	}
	cellI.poly(0).beside(a, cellG.all("AX"))
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("loop")
	cellTurnBody(a)
	a.op("ADDQ $%d, AX", cellTurn)
	a.op("CMPQ AX, BX")
	a.op("JLT  loop")
	a.label("out")
	a.op("MOVQ AX, done+64(FP)")
	a.op("VZEROUPPER")
	a.op("RET")
	lstmSums(a, &stubs)
	var words []uint32
	for _, c := range cellConsts {
		for range cellLane {
			words = append(words, c.bits)
		}
	}
	a.data("cellConst", words)
	return []file{a.file("lstm_amd64.s"), {"lstm_stubs_amd64.go", []byte(stubs.String())}}
}

// lstmSums writes the pre-activations of a quantized LSTM: those of vb.lstmCell's sums in the program lstmQuant.
func lstmSums(a *asm, stubs *strings.Builder) {
	decl := "func lstmSums256(z, gates *float32, sums, colSum *int32, scale *float32, n int, az int32, as float32)"
	fmt.Fprintf(stubs, "\n// lstmSums256 sets z[i] = float32(sums[i]-az*colSum[i])*(as*scale[i]) + gates[i]; n is a multiple of 16, not 0. z may be where sums are.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "lstmSums256", 56)
	for _, r := range []string{"z+0(FP), DI", "gates+8(FP), SI", "sums+16(FP), DX", "colSum+24(FP), CX", "scale+32(FP), R8", "n+40(FP), BX"} {
		a.op("MOVQ %s", r)
	}
	a.op("MOVL az+48(FP), R9")
	a.op("VMOVD R9, X15")
	a.op("VPBROADCASTD X15, Y15")
	a.op("VBROADCASTSS as+52(FP), Y14")
	a.op("XORL AX, AX")
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("loop")
	for v := range 2 {
		x, s := 2*v, 2*v+1
		a.op("VPMULLD %s, Y15, Y%d", cellAt("CX", v), x)
		a.op("VMOVDQU %s, Y%d", cellAt("DX", v), s)
		a.op("VPSUBD Y%d, Y%d, Y%[1]d", x, s)
		a.op("VCVTDQ2PS Y%d, Y%[1]d", x)
		a.op("VMULPS %s, Y14, Y%d", cellAt("R8", v), s)
		a.op("VMULPS Y%d, Y%d, Y%[2]d", s, x)
		a.op("VADDPS %s, Y%d, Y%[2]d", cellAt("SI", v), x)
		a.op("VMOVUPS Y%d, %s", x, cellAt("DI", v))
	}
	a.op("ADDQ $16, AX")
	a.op("CMPQ AX, BX")
	a.op("JLT  loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

var cellI, cellG, cellF, cellO, cellC = cellGroup{"DI", 0, false}, cellGroup{"CX", 1, true}, cellGroup{"DX", 0, false}, cellGroup{"SI", 1, false}, cellGroup{"R9", 2, true}

// cellTurnBody is one turn. Y12 is what rounds, Y13 is 1, Y14 the largest argument, Y15 the sign. i and the first half of g are done by the turn before.
func cellTurnBody(a *asm) {
	cellG.poly(1).beside(a, cellF.all("AX"))
	o := cellO.all("AX")
	for v := range cellVecs {
		o.quotient(cellAt("DI", v), cellSlot(cellExp+v), cellSlot(cellExp+cellVecs+v), cellAt("CX", v))
		o.op("VMOVAPS Y10, %s", cellSlot(cellIG+v))
	}
	cellF.poly(2).beside(a, o)
	a.op("VPCMPGTD %s, Y14, Y14", cellConst("most"))
	a.op("VMOVMSKPS Y14, R11")
	a.op("TESTL R11, R11")
	a.op("JNE  out")
	a.op("VMOVAPS Y15, Y14")
	a.op("LEAQ %d(AX), R13", cellTurn)
	a.op("CMPQ R13, BX")
	a.op("CMOVQGE AX, R13") // after the last turn nobody reads what is made for the next
	var c code
	for v := range cellVecs {
		c.op("VMOVUPS %s, Y9", cellAt("DX", v))
		c.op("VMOVAPS %s, Y10", cellSlot(cellExp+2*cellVecs+v))
		c.op("VBLENDVPS Y9, Y10, Y13, Y9")
		c.op("VADDPS Y13, Y10, Y10")
		c.op("VDIVPS Y10, Y9, Y9")
		c.op("VMOVAPS %s, Y10", cellSlot(cellIG+v))
		c.op("VFMADD231PS %s, Y9, Y10", cellAt("R8", v))
		c.op("VMOVUPS Y10, %s", cellAt("R9", v))
		c = append(c, cellC.reduce(v, "")...)
	}
	c = append(c, cellI.all("R13")...)
	cellO.poly(3).beside(a, c)
	a.op("CMPQ R13, AX")
	a.op("JEQ  last")
	cellI.poly(0).beside(a, cellG.all("R13"))
	a.label("last")
	cellC.poly(-1).beside(a, nil)
	var h code
	for v := range cellVecs {
		h.quotient(cellAt("SI", v), cellSlot(cellExp+3*cellVecs+v), fmt.Sprint("Y", 4+v), cellAt("R9", v))
		h.op("VMOVUPS Y10, %s", cellAt("R10", v))
	}
	h.beside(a, nil)
}

// quotient leaves sigmoid(x) tanh(y) in Y10, from the exponentials z and e. It uses Y9 and Y11.
func (c *code) quotient(x, z, e, y string) {
	c.op("VMOVUPS %s, Y10", x)
	c.op("VMOVAPS %s, Y9", z)
	c.op("VBLENDVPS Y10, Y9, Y13, Y10") // exp(-0) is 1, so that the sign is as good as a comparison
	c.op("VADDPS Y13, Y9, Y9")
	c.op("VMOVAPS %s, Y11", e)
	c.op("VADDPS %s, Y11, Y11", cellConst("two"))
	c.op("VMULPS Y11, Y9, Y9")
	c.op("VANDNPS %s, Y15, Y11", e)
	c.op("VMULPS Y11, Y10, Y10")
	c.op("VANDPS %s, Y15, Y11", y)
	c.op("VORPS Y11, Y10, Y10")
	c.op("VDIVPS Y9, Y10, Y10")
}

// all is reduce for all four, of the turn at the register.
func (g cellGroup) all(turn string) (c code) {
	for v := range cellVecs {
		c = append(c, g.reduce(v, turn)...)
	}
	return c
}

// reduce is the first half of expReduce for one argument, of the turn at a register or, without one, in Y10: rest and exponent go to the frame. It uses Y9 to Y11.
func (g cellGroup) reduce(v int, turn string) (c code) {
	if turn == "" {
		c.op("VORPS Y10, Y15, Y9")
	} else {
		c.op("VORPS %s, Y15, Y9", strings.Replace(cellAt(g.reg, v), "AX", turn, 1))
	}
	if g.tanh {
		c.op("VADDPS Y9, Y9, Y9")
	}
	if turn == "" {
		c.op("VMOVUPS %s, Y10", cellConst("least"))
		c.op("VMAXPS Y9, Y10, Y9")
	} else {
		c.op("VPMAXUD Y9, Y14, Y14")
	}
	c.op("VMULPS %s, Y9, Y10", cellConst("log2e"))
	c.op("VADDPS Y12, Y10, Y10")
	c.op("VPSLLD $23, Y10, Y11")
	c.op("VSUBPS Y12, Y10, Y10")
	c.op("VMOVAPS Y11, %s", cellSlot(cellScale+cellVecs*g.set+v))
	c.op("VFNMADD231PS %s, Y10, Y9", cellConst("ln2Hi"))
	c.op("VFNMADD231PS %s, Y10, Y9", cellConst("ln2Lo"))
	c.op("VMOVAPS Y9, %s", cellSlot(cellRest+cellVecs*g.set+v))
	return c
}

// poly is the rest: exp, or exp-1 where it belongs to a tanh, is left in Y4 to Y7, and at a place of the frame where that is not negative. It uses Y0 to Y3 and Y8.
func (g cellGroup) poly(place int) (c code) {
	each := func(f func(v, r, p int)) {
		for v := range cellVecs {
			f(v, v, 4+v)
		}
	}
	each(func(v, r, p int) { c.op("VMOVAPS %s, Y%d", cellSlot(cellRest+cellVecs*g.set+v), r) })
	c.op("VMOVUPS %s, Y8", cellConst("c0"))
	each(func(v, r, p int) { c.op("VMOVAPS Y8, Y%d", p) })
	for _, k := range []string{"c1", "c2", "c3", "c4"} {
		c.op("VMOVUPS %s, Y8", cellConst(k))
		each(func(v, r, p int) { c.op("VFMADD213PS Y8, Y%d, Y%d", r, p) })
	}
	if g.tanh {
		each(func(v, r, p int) { c.op("VMULPS Y%d, Y%d, Y%[2]d", r, p) })
		each(func(v, r, p int) { c.op("VFMADD213PS Y%[1]d, Y%[1]d, Y%[2]d", r, p) })
		each(func(v, r, p int) { // the power itself, and less 1
			c.op("VPADDD %s, Y13, Y%d", cellSlot(cellScale+cellVecs*g.set+v), r)
			c.op("VSUBPS Y13, Y%d, Y8", r)
			c.op("VFMADD213PS Y8, Y%d, Y%d", r, p)
		})
	} else {
		for range 2 {
			each(func(v, r, p int) { c.op("VFMADD213PS Y13, Y%d, Y%d", r, p) })
		}
		each(func(v, r, p int) { c.op("VPADDD %s, Y%d, Y%[2]d", cellSlot(cellScale+cellVecs*g.set+v), p) })
	}
	if place >= 0 {
		each(func(v, r, p int) { c.op("VMOVAPS Y%d, %s", p, cellSlot(cellExp+cellVecs*place+v)) })
	}
	return c
}
