package main

import (
	"fmt"
	"math"
	"strings"
)

// The matrices of Winograd's minimal filtering F(m x m, 3 x 3) (Lavin and Gray 2016): points 0, 1, -1, infinity and, for m = 4,
// 2 and -2. Every row has a coefficient 1: see transform. winograd.go of package kernel has the same.
var winoIn = map[int][][]float64{
	2: {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}},
	4: {{4, 0, -5, 0, 1, 0}, {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0}, {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}},
}

var winoOut = map[int][][]float64{
	2: {{1, 1, 1, 0}, {0, 1, -1, -1}},
	4: {{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}},
}

// wino writes the transforms of tiles of m x m outputs over blocks of 16 channels.
type wino struct {
	isa string
	m   int
}

func (w wino) reg(i int) string { return fmt.Sprintf("%s%d", w.isa, i) }

// constants are the magnitudes other than 1 in a matrix, in registers from 10 on.
func (w wino) constants(a *asm, mat [][]float64) map[float64]string {
	regs := map[float64]string{}
	for _, row := range mat {
		for _, c := range row {
			if c = math.Abs(c); c > 1 && regs[c] == "" {
				r := 10 + len(regs)
				regs[c] = w.reg(r)
				a.op("MOVL $0x%08x, AX", math.Float32bits(float32(c)))
				a.op("VMOVD AX, X%d", r)
				a.op("VBROADCASTSS X%d, %s", r, w.reg(r))
			}
		}
	}
	return regs
}

// transform computes a row of a matrix times registers 0, 1, ... into register 8: the first term with coefficient 1, then
// the others in order, fused.
func (w wino) transform(a *asm, row []float64, regs map[float64]string) {
	first := -1
	for i, c := range row {
		if c == 1 {
			first = i
			break
		}
	}
	sum, from := w.reg(8), w.reg(first)
	for i, c := range row {
		if c == 0 || i == first {
			continue
		}
		switch c {
		case 1:
			a.op("VADDPS %s, %s, %s", w.reg(i), from, sum)
		case -1:
			a.op("VSUBPS %s, %s, %s", w.reg(i), from, sum)
		default:
			if from != sum {
				a.op("VMOVAPS %s, %s", from, sum)
			}
			op := "VFMADD231PS"
			if c < 0 {
				op = "VFNMADD231PS"
			}
			a.op("%s %s, %s, %s", op, w.reg(i), regs[math.Abs(c)], sum)
		}
		from = sum
	}
}

func (w wino) halves() []int {
	if w.isa == "Y" {
		return []int{0, 32}
	}
	return []int{0}
}

func (w wino) suffix() string {
	return fmt.Sprintf("%dx%s", w.m, map[string]string{"Z": "512", "Y": "256"}[w.isa])
}

// input writes winoIn: DI dst, SI src, BX tmp, R8 ds, R9 rs, DX n.
func (w wino) input(a *asm, stubs *strings.Builder) {
	name := "winoIn" + w.suffix()
	decl := fmt.Sprintf("func %s(dst, src, tmp *float32, ds, rs, n int)", name)
	fmt.Fprintf(stubs, "\n//go:noescape\n%s\n", decl)
	a.text(decl, name, 48)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "tmp+16(FP), BX", "ds+24(FP), R8", "rs+32(FP), R9", "n+40(FP), DX"} {
		a.op("MOVQ %s", l)
	}
	mat := winoIn[w.m]
	regs := w.constants(a, mat)
	t := len(mat)
	a.label("tile")
	for _, h := range w.halves() {
		for j := range t { // columns of the image
			a.op("LEAQ %d(SI), AX", 64*j+h)
			for i := range t {
				a.op("VMOVUPS (AX), %s", w.reg(i))
				if i < t-1 {
					a.op("ADDQ R9, AX")
				}
			}
			for i := range t {
				w.transform(a, mat[i], regs)
				a.op("VMOVUPS %s, %s(BX)", w.reg(8), offset(64*(i*t+j)))
			}
		}
		a.op("LEAQ %s(DI), AX", offset(h))
		for i := range t {
			for j := range t {
				a.op("VMOVUPS %s(BX), %s", offset(64*(i*t+j)), w.reg(j))
			}
			for j := range t {
				w.transform(a, mat[j], regs)
				a.op("VMOVUPS %s, (AX)", w.reg(8))
				if w.isa == "Y" && h == 0 { // of the next tile but one: the elements are more streams than a processor foresees
					a.inst(prefetchW(mem{base: "AX", disp: 128}))
				}
				a.op("ADDQ R8, AX")
			}
		}
	}
	a.op("ADDQ $64, DI")
	a.op("ADDQ $%d, SI", 64*w.m)
	a.op("DECQ DX")
	a.op("JNE  tile")
	a.op("VZEROUPPER")
	a.op("RET")
}

// output writes winoOut: DI dst, SI src, BX tmp, R8 ss, R9 rs, R10 bias, R11 lim, R12 ss times tile, DX n.
func (w wino) output(a *asm, stubs *strings.Builder) {
	name := "winoOut" + w.suffix()
	decl := fmt.Sprintf("func %s(dst, src, tmp, bias, lim *float32, ss, rs, n int)", name)
	fmt.Fprintf(stubs, "\n//go:noescape\n%s\n", decl)
	a.text(decl, name, 64)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "tmp+16(FP), BX", "bias+24(FP), R10", "lim+32(FP), R11", "ss+40(FP), R8", "rs+48(FP), R9", "n+56(FP), DX"} {
		a.op("MOVQ %s", l)
	}
	mat := winoOut[w.m]
	regs := w.constants(a, mat)
	t := len(mat[0])
	a.op("IMUL3Q $%d, R8, R12", t)
	a.label("tile")
	for _, h := range w.halves() {
		a.op("LEAQ %s(SI), CX", offset(h))
		for j := range t {
			a.op("MOVQ CX, AX")
			for i := range t {
				a.op("VMOVUPS (AX), %s", w.reg(i))
				if w.isa == "Y" && h == 0 { // see input
					a.op("PREFETCHT0 128(AX)")
				}
				if i < t-1 {
					a.op("ADDQ R12, AX")
				}
			}
			a.op("ADDQ R8, CX")
			for i := range mat {
				w.transform(a, mat[i], regs)
				a.op("VMOVUPS %s, %s(BX)", w.reg(8), offset(64*(i*t+j)))
			}
		}
		a.op("VMOVUPS %s(R10), %s", offset(h), w.reg(13))
		a.op("VBROADCASTSS (R11), %s", w.reg(14))
		a.op("VBROADCASTSS 4(R11), %s", w.reg(15))
		a.op("LEAQ %s(DI), AX", offset(h))
		for i := range mat {
			for j := range t {
				a.op("VMOVUPS %s(BX), %s", offset(64*(i*t+j)), w.reg(j))
			}
			for j := range mat {
				w.transform(a, mat[j], regs)
				s := w.reg(8)
				a.op("VADDPS %s, %s, %s", w.reg(13), s, s)
				a.op("VMAXPS %s, %s, %s", s, w.reg(14), s)
				a.op("VMINPS %s, %s, %s", s, w.reg(15), s)
				a.op("VMOVUPS %s, %s(AX)", s, offset(64*j))
			}
			if i < len(mat)-1 {
				a.op("ADDQ R9, AX")
			}
		}
	}
	a.op("ADDQ $64, SI")
	a.op("ADDQ $%d, DI", 64*w.m)
	a.op("DECQ DX")
	a.op("JNE  tile")
	a.op("VZEROUPPER")
	a.op("RET")
}

// winoFiles writes the transforms.
func winoFiles() []file {
	var stubs strings.Builder
	fmt.Fprintf(&stubs, goHead, "winograd.go")
	a := newAsm("winograd.go")
	for _, isa := range []string{"Z", "Y"} {
		for _, m := range []int{2, 4} {
			wino{isa, m}.input(a, &stubs)
			wino{isa, m}.output(a, &stubs)
		}
	}
	return []file{a.file("convblocked_winograd_amd64.s"), {"convblocked_winograd_stubs_amd64.go", []byte(stubs.String())}}
}
