package main

import (
	"fmt"
	"strings"
)

// nbWiden writes the function that turns rows of a block of block-wise quantized weights into float32. Registers: SI weights, DI dst, CX pairs of
// groups of four rows left; scales in 8 and up, terms of the zero points behind them. 512-bit registers take the values of four bits from a table, whose
// index are the lowest bits of a word; otherwise they and bytes become signed bytes first.
func nbWiden(a *asm, stubs *strings.Builder, isa string, bits int) {
	name := fmt.Sprintf("nbits%dwiden%d", bits, map[string]int{"Z": 512, "Y": 256}[isa])
	decl := fmt.Sprintf("func %s(dst *float32, w *byte, scale, zero *float32, pairs, centre int)", name)
	fmt.Fprintf(stubs, "\n// %s writes 8*pairs rows of 32 columns, of weights of %d bits: (q - centre)*scale - zero.\n//\n//go:noescape\n%s\n", name, bits, decl)
	a.text(decl, name, 48)
	for _, l := range []string{"dst+0(FP), DI", "w+8(FP), SI", "scale+16(FP), R8", "zero+24(FP), R9", "pairs+32(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	width := map[string]int{"Z": 64, "Y": 32}[isa]
	vecs := 128 / width
	r := func(i int) string { return fmt.Sprintf("%s%d", isa, i) }
	scale, zero := 4, 4+vecs // Y: 4 to 7 and from memory, Z: 4, 5 and 6, 7
	for v := range vecs {
		a.op("VMOVUPS %d(R8), %s", width*v, r(scale+v))
		if isa == "Z" {
			a.op("VMOVUPS %d(R9), %s", width*v, r(zero+v))
		}
	}
	const centre, mask, table = 14, 15, 13
	a.op("MOVQ centre+40(FP), AX")
	a.op("VMOVD AX, X%d", centre)
	a.op("VPBROADCAST%s X%d, %s", map[bool]string{true: "D", false: "B"}[bits == 4 && isa == "Z"], centre, r(centre))
	switch {
	case bits == 4 && isa == "Z":
		a.op("VMOVDQU32 nbitsCount<>(SB), %s", r(table))
		a.op("VPSUBD %s, %s, %s", r(centre), r(table), r(table))
		a.op("VCVTDQ2PS %[1]s, %[1]s", r(table))
	case bits == 4:
		a.op("MOVL $0x0f0f0f0f, AX")
		a.op("VMOVD AX, X%d", mask)
		a.op("VPBROADCASTD X%d, %s", mask, r(mask))
	}
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("pair")
	for v := range vecs {
		if bits == 4 && isa == "Z" {
			a.op("VMOVDQU32 %d(SI), %s", width*v, r(0))
			for k := range 8 {
				w, to := r(0), r(1+k%3)
				if shift := 8*(k%4) + 4*(k/4); shift > 0 {
					a.op("VPSRLD $%d, %s, %s", shift, w, to)
					w = to
				}
				a.op("VPERMPS %s, %s, %s", r(table), w, to)
				nbWidened(a, to, r(scale+v), r(zero+v), 128*k+width*v)
			}
			continue
		}
		for g := range 2 {
			nbSigned(a, isa, bits, g, width*v, r)
			for k := range 4 {
				w, to := r(0), r(1+k%3)
				if k < 3 {
					a.op("VPSLLD $%d, %s, %s", 24-8*k, w, to)
					w = to
				}
				a.op("VPSRAD $24, %s, %s", w, to)
				a.op("VCVTDQ2PS %[1]s, %[1]s", to)
				z := r(zero + v)
				if isa == "Y" {
					z = fmt.Sprintf("%d(R9)", width*v)
				}
				nbWidened(a, to, r(scale+v), z, 128*(4*g+k)+width*v)
			}
		}
	}
	a.op("ADDQ $%d, SI", 32*bits)
	a.op("ADDQ $1024, DI")
	a.op("DECQ CX")
	a.op("JNE  pair")
	a.op("VZEROUPPER")
	a.op("RET")
}

// nbSigned loads group g of a pair, the bytes at d of its row, and takes the centre off: signed bytes in register 0.
func nbSigned(a *asm, isa string, bits, g, d int, r func(int) string) {
	suffix := map[string]string{"Z": "32", "Y": ""}[isa]
	if bits == 8 {
		a.op("VMOVDQU%s %d(SI), %s", suffix, 128*g+d, r(0))
	} else {
		a.op("VMOVDQU %d(SI), %s", d, r(0))
		if g == 1 {
			a.op("VPSRLW $4, %[1]s, %[1]s", r(0))
		}
		a.op("VPAND %s, %s, %s", r(0), r(15), r(0))
	}
	a.op("VPSUBB %s, %s, %s", r(14), r(0), r(0))
}

// nbWidened scales a vector, takes off the term of the zero points, a register or memory, and stores it.
func nbWidened(a *asm, x, scale, zero string, at int) {
	a.op("VMULPS %[1]s, %[2]s, %[2]s", scale, x)
	a.op("VSUBPS %[1]s, %[2]s, %[2]s", zero, x)
	a.op("VMOVUPS %s, %d(DI)", x, at)
}

// nbitsWidenFiles writes the functions that turn block-wise quantized weights into float32.
func nbitsWidenFiles() []file {
	var stubs strings.Builder
	fmt.Fprintf(&stubs, goHead, "nbitswiden.go")
	a := newAsm("nbitswiden.go")
	count := make([]uint32, 16)
	for i := range count {
		count[i] = uint32(i)
	}
	a.data("nbitsCount", count)
	for _, bits := range []int{4, 8} {
		for _, isa := range []string{"Z", "Y"} {
			nbWiden(a, &stubs, isa, bits)
		}
	}
	return []file{a.file("nbits_widen_amd64.s"), {"nbits_widen_stubs_amd64.go", []byte(stubs.String())}}
}
