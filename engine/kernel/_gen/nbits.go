package main

import (
	"fmt"
	"strings"
)

// nbTile is a kernel for block-wise quantized weights of 4 or 8 bits: rows of A, a panel of 32 columns, all blocks of K. The
// elements of A are integers in one or three signed digits of 8 bits, the digits of a group of four elements side by side.
//
// A stream is the kernel of one row for blocks of a multiple of 32: it takes several panels, one after the other as they lie in memory, four pairs
// of groups at a time. It asks for nothing ahead of time: on a Zen 4 that makes it slower, since the CPU itself does so for one stream in order.
type nbTile struct {
	bits, parts, rows int
	stream            bool
}

func (t nbTile) name() string {
	if t.stream {
		return fmt.Sprintf("nbits%dp%dstream", t.bits, t.parts)
	}
	return fmt.Sprintf("nbits%dp%dm%d", t.bits, t.parts, t.rows)
}

// sets is 2 where the nibbles of a byte are summed apart: the upper ones unshifted, to be divided by 16 once per block.
func (t nbTile) sets() int {
	if t.rows == 1 || t.parts == 1 && t.rows == 2 {
		return 2
	}
	return 1
}

func (t nbTile) acc(set, r, p, v int) string {
	return fmt.Sprintf("Z%d", ((set*t.rows+r)*t.parts+p)*2+v)
}

func (t nbTile) out(r, v int) string { return fmt.Sprintf("Z%d", 2*t.sets()*t.rows*t.parts+2*r+v) }

const nbArgs = `blocks 0, pairs 8, w 16, a 24, lda 32, meta 40, ldm 48, c 56, ldc 64, zeros 72, sums 80, panels 272`

// row is the address of row r, d bytes on: SI and R8 for A, R11 and R9 for the terms of the blocks.
func (t nbTile) row(base, stride, triple string, r, d int) string {
	switch r {
	case 0:
		return fmt.Sprintf("%d(%s)", d, base)
	case 3:
		return fmt.Sprintf("%d(%s)(%s*1)", d, base, triple)
	}
	return fmt.Sprintf("%d(%s)(%s*%d)", d, base, stride, r)
}

// kernel writes the kernel. Registers: DX args, R12 blocks, DI weights, SI and R8 A, R11 and R9 terms, AX zeros, CX turns left of a block,
// R13 panels left of a stream, BX c.
func (t nbTile) kernel(a *asm, stubs *strings.Builder) {
	decl := fmt.Sprintf("func %s(x *nbitsArgs)", t.name())
	panels := "a panel"
	if t.stream {
		panels = "panels"
	}
	fmt.Fprintf(stubs, "\n// %s is the product of %d row(s) in %d digit(s) with %s of weights of %d bits.\n//\n//go:noescape\n%s\n", t.name(), t.rows, t.parts, panels, t.bits, decl)
	a.text(decl+"\nfields: "+nbArgs, t.name(), 8)
	a.op("MOVQ x+0(FP), DX")
	for _, l := range []string{"16(DX), DI", "32(DX), R8", "48(DX), R9", "72(DX), AX"} {
		a.op("MOVQ %s", l)
	}
	a.op("LEAQ (R8)(R8*2), R14")
	a.op("LEAQ (R9)(R9*2), R15")
	if t.bits == 4 {
		a.op("MOVL $0x0f0f0f0f, CX")
		a.op("VPBROADCASTD CX, Z31")
	}
	if t.stream {
		a.op("MOVQ 56(DX), BX")
		a.op("MOVQ 272(DX), R13")
		a.label("panel")
	}
	for _, l := range []string{"0(DX), R12", "24(DX), SI", "40(DX), R11"} {
		a.op("MOVQ %s", l)
	}
	for r := range t.rows {
		for v := range 2 {
			a.op("VPXORD %[1]s, %[1]s, %[1]s", t.out(r, v))
		}
	}
	a.label("block")
	for r := range t.rows {
		for p := range t.parts {
			a.op("VPBROADCASTD %s, %s", t.row("R11", "R9", "R15", r, 4*p), t.acc(0, r, p, 0))
			a.op("VMOVDQA32 %s, %s", t.acc(0, r, p, 0), t.acc(0, r, p, 1))
			if t.sets() == 2 {
				a.op("VPXORD %[1]s, %[1]s, %[1]s", t.acc(1, r, p, 0))
				a.op("VPXORD %[1]s, %[1]s, %[1]s", t.acc(1, r, p, 1))
			}
		}
	}
	a.op("MOVQ 8(DX), CX")
	turn := 1
	if t.stream {
		nudge(a, "DI", 128*t.bits+128)
		turn = 4
		a.op("SHRQ $2, CX")
	}
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("pair")
	for u := range turn {
		t.pair(a, u)
	}
	a.op("ADDQ $%d, SI", 8*t.parts*turn)
	a.op("ADDQ $%d, DI", 32*t.bits*turn)
	a.op("DECQ CX")
	a.op("JNE  pair")
	t.scale(a)
	a.op("ADDQ $32, R11")
	a.op("DECQ R12")
	a.op("JNE  block")
	if t.stream {
		for v := range 2 {
			a.op("VMOVUPS %s, %d(BX)", t.out(0, v), 64*v)
		}
		a.op("ADDQ $128, BX")
		a.op("DECQ R13")
		a.op("JNE  panel")
		a.op("VZEROUPPER")
		a.op("RET")
		return
	}
	a.op("MOVQ 56(DX), BX")
	a.op("MOVQ 64(DX), R13")
	for r := range t.rows {
		for v := range 2 {
			a.op("VMOVUPS %s, %d(BX)", t.out(r, v), 64*v)
		}
		if r < t.rows-1 {
			a.op("ADDQ R13, BX")
		}
	}
	a.op("VZEROUPPER")
	a.op("RET")
}

// pair multiplies two groups of four rows of the panel, number u of those of a turn of the loop. Z24 to Z27 hold them, Z28 the elements of A.
func (t nbTile) pair(a *asm, u int) {
	from := 32 * t.bits * u
	w := func(g, v int) string { return fmt.Sprintf("Z%d", 24+2*g+v) }
	if t.rows*t.parts == 9 { // Z24 to Z26 are taken: one column vector after the other
		w = func(g, _ int) string { return fmt.Sprintf("Z%d", 28+g) }
	}
	load := func(v int) {
		if t.bits == 8 {
			for g := range 2 {
				a.op("VMOVDQU32 %d(DI), %s", from+128*g+64*v, w(g, v))
			}
			return
		}
		a.op("VMOVDQU32 %d(DI), %s", from+64*v, w(1, v))
		a.op("VPANDD %s, Z31, %s", w(1, v), w(0, v))
		if t.sets() == 2 {
			a.op("VPANDND %s, Z31, %s", w(1, v), w(1, v))
			return
		}
		a.op("VPSRLW $4, %s, %s", w(1, v), w(1, v))
		a.op("VPANDD %s, Z31, %s", w(1, v), w(1, v))
	}
	if t.rows*t.parts == 9 {
		for v := range 2 {
			load(v)
			for g := range 2 {
				for r := range t.rows {
					for p := range t.parts {
						a.op("VPDPBUSD.BCST %s, %s, %s", t.row("SI", "R8", "R14", r, 4*(g*t.parts+p)), w(g, v), t.acc(0, r, p, v))
					}
				}
			}
		}
		return
	}
	load(0)
	load(1)
	for g := range 2 {
		for r := range t.rows {
			for p := range t.parts {
				a.op("VPBROADCASTD %s, Z28", t.row("SI", "R8", "R14", r, 4*((2*u+g)*t.parts+p)))
				for v := range 2 {
					a.op("VPDPBUSD Z28, %s, %s", w(g, v), t.acc(g*(t.sets()-1), r, p, v))
				}
			}
		}
	}
}

// scale adds the block's integers, times the scales of its columns and rows, to the sums.
func (t nbTile) scale(a *asm) {
	for r := range t.rows {
		for p := range t.parts {
			for v := range 2 {
				s := t.acc(0, r, p, v)
				if t.sets() == 2 {
					if t.bits == 4 {
						a.op("VPSRAD $4, %[1]s, %[1]s", t.acc(1, r, p, v))
					}
					a.op("VPADDD %s, %s, %s", t.acc(1, r, p, v), s, s)
				}
				a.op("VCVTDQ2PS %s, %s", s, s)
			}
		}
	}
	if t.parts == 3 {
		a.op("MOVL $0x43800000, CX") // 256
		a.op("VPBROADCASTD CX, Z28")
		for r := range t.rows {
			for v := range 2 {
				a.op("VFMADD231PS %s, Z28, %s", t.acc(0, r, 1, v), t.acc(0, r, 0, v))
			}
		}
		a.op("MOVL $0x47800000, CX") // 65536
		a.op("VPBROADCASTD CX, Z28")
		for r := range t.rows {
			for v := range 2 {
				a.op("VFMADD231PS %s, Z28, %s", t.acc(0, r, 2, v), t.acc(0, r, 0, v))
			}
		}
	}
	for r := range t.rows {
		a.op("VBROADCASTSS %s, Z28", t.row("R11", "R9", "R15", r, 12))
		for v := range 2 {
			a.op("VMULPS %d(DI), Z28, Z29", 64*v)
			a.op("VFMADD231PS Z29, %s, %s", t.acc(0, r, 0, v), t.out(r, v))
		}
	}
	a.op("ADDQ $128, DI")
	a.op("TESTQ AX, AX")
	a.op("JEQ  even")
	for r := range t.rows {
		a.op("VBROADCASTSS %s, Z28", t.row("R11", "R9", "R15", r, 16))
		for v := range 2 {
			a.op("VFNMADD231PS %d(DI), Z28, %s", 64*v, t.out(r, v))
		}
	}
	a.op("ADDQ $128, DI")
	a.label("even")
}

// nbFloat writes the product of one row of float32 with a panel: every weight becomes a float32 on its way.
func nbFloat(a *asm, stubs *strings.Builder, isa string, bits int) {
	name := fmt.Sprintf("nbits%df%d", bits, map[string]int{"Z": 512, "Y": 256}[isa])
	decl := fmt.Sprintf("func %s(x *nbitsArgs)", name)
	fmt.Fprintf(stubs, "\n// %s is the product of one row of float32 with a panel of weights of %d bits.\n//\n//go:noescape\n%s\n", name, bits, decl)
	a.text(decl+"\nfields: "+nbArgs, name, 8)
	w := map[string]int{"Z": 64, "Y": 32}[isa]
	vecs := 128 / w
	r := func(i int) string { return fmt.Sprintf("%s%d", isa, i) }
	d := map[string]string{"Z": "D", "Y": ""}[isa]
	a.op("MOVQ x+0(FP), DX")
	for _, l := range []string{"0(DX), R12", "16(DX), DI", "24(DX), SI", "40(DX), R11", "72(DX), AX"} {
		a.op("MOVQ %s", l)
	}
	for v := range vecs {
		a.op("VPXOR%s %[2]s, %[2]s, %[2]s", d, r(vecs+v))
	}
	broadcast := func(reg string, to int) {
		a.op("VMOVD %s, X%d", reg, to)
		a.op("VPBROADCASTD X%d, %s", to, r(to))
	}
	a.op("MOVL $%d, CX", 1<<bits-1)
	broadcast("CX", 12)
	a.op("MOVL 20(R11), CX")
	broadcast("CX", 13)
	a.label("block")
	for v := range vecs {
		a.op("VPXOR%s %[2]s, %[2]s, %[2]s", d, r(v))
	}
	a.op("MOVQ 8(DX), CX")
	a.label("pair")
	for k := range 8 {
		a.op("VBROADCASTSS %d(SI), %s", 4*k, r(14))
		at, shift := 0, 8*(k%4)
		if bits == 8 {
			at = 128 * (k / 4)
		} else {
			shift += 4 * (k / 4)
		}
		for v := range vecs {
			t := 8 + v%4
			a.op("VMOVDQU%s %d(DI), %s", map[string]string{"Z": "32", "Y": ""}[isa], at+w*v, r(t))
			if shift > 0 {
				a.op("VPSRLD $%d, %s, %s", shift, r(t), r(t))
			}
			a.op("VPAND%s %s, %s, %s", d, r(t), r(12), r(t))
			a.op("VPSUBD %s, %s, %s", r(13), r(t), r(t))
			a.op("VCVTDQ2PS %s, %s", r(t), r(t))
			a.op("VFMADD231PS %s, %s, %s", r(t), r(14), r(v))
		}
	}
	a.op("ADDQ $32, SI")
	a.op("ADDQ $%d, DI", 32*bits)
	a.op("DECQ CX")
	a.op("JNE  pair")
	for v := range vecs {
		a.op("VFMADD231PS %d(DI), %s, %s", w*v, r(v), r(vecs+v))
	}
	a.op("ADDQ $128, DI")
	a.op("TESTQ AX, AX")
	a.op("JEQ  even")
	a.op("VBROADCASTSS 16(R11), %s", r(14))
	for v := range vecs {
		a.op("VFNMADD231PS %d(DI), %s, %s", w*v, r(14), r(vecs+v))
	}
	a.op("ADDQ $128, DI")
	a.label("even")
	a.op("ADDQ $32, R11")
	a.op("DECQ R12")
	a.op("JNE  block")
	a.op("MOVQ 56(DX), BX")
	for v := range vecs {
		a.op("VMOVUPS %s, %d(BX)", r(vecs+v), w*v)
	}
	a.op("VZEROUPPER")
	a.op("RET")
}

// nbitsFiles writes the products with block-wise quantized weights.
func nbitsFiles() []file {
	var stubs strings.Builder
	fmt.Fprintf(&stubs, goHead, "nbits.go")
	a := newAsm("nbits.go")
	for _, bits := range []int{4, 8} {
		for rows := 1; rows <= 4; rows++ {
			nbTile{bits: bits, parts: 1, rows: rows}.kernel(a, &stubs)
		}
		for rows := 1; rows <= 3; rows++ {
			nbTile{bits: bits, parts: 3, rows: rows}.kernel(a, &stubs)
		}
		for _, parts := range []int{1, 3} {
			nbTile{bits: bits, parts: parts, rows: 1, stream: true}.kernel(a, &stubs)
		}
		for _, isa := range []string{"Z", "Y"} {
			nbFloat(a, &stubs, isa, bits)
		}
	}
	for _, from := range []source{readAhead, nearby, distant} {
		for _, bits := range []int{4, 8} {
			for _, parts := range []int{1, 3} {
				nbWide{bits, parts, from}.kernel(a, &stubs)
			}
		}
	}
	nbSplit(a, &stubs)
	y := newAsm("nbits256.go")
	for _, bits := range []int{4, 8} {
		for _, parts := range []int{1, 3} {
			if bits == 4 || parts == 3 {
				nbRow{bits, parts}.kernel(y, &stubs)
			}
		}
	}
	nbStreams(y, &stubs)
	nbShort(y, &stubs)
	nbSplit256(y, &stubs)
	nbTwo(y, &stubs)
	for parts := 1; parts <= 3; parts++ {
		nbBlocks256(y, &stubs, parts)
	}
	// 256, 65536 and 128 in float64, and 127 in float32
	y.data("nbitsPlaces", []uint32{0, 0x40700000, 0, 0x40f00000, 0, 0x40600000, 0x42fe0000})
	return []file{a.file("nbits_amd64.s"), y.file("nbits_avx2_amd64.s"), {"nbits_stubs_amd64.go", []byte(stubs.String())}}
}
