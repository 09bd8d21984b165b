package main

import (
	"fmt"
	"strings"
)

// neonGemm is a kernel for mr rows of A and cols columns of B, one step of k after the other: float32, or groups of four bytes of
// which a step takes one. A stays in registers for four steps and is used lane by lane.
//
//	R0 steps, R1 A, R2 lda, R3 B, R4 bs, R5 C, R6 ldc, R7 acc or sums; R8 to R15 rows of A; R16 C, R17 the third column, or the upper half of B
type neonGemm struct {
	mr, cols int
	kind     string // "gemm"; "chain", which starts at C where gemm adds it in the end; "sdot" or "sudot"
}

// name is the function's: gemmNEON8m3.
func (g neonGemm) name() string {
	return fmt.Sprintf("%sm%d", g.family(), g.mr)
}

func (g neonGemm) family() string {
	return map[string]string{"gemm": "gemmNEON", "chain": "chainNEON", "sdot": "sdotNEON", "sudot": "sudotNEON"}[g.kind] + fmt.Sprint(g.cols)
}

func (g neonGemm) vecs() int { return (g.cols + 3) / 4 }

func (g neonGemm) acc(i, v int) int { return i*g.vecs() + v }

// bytes tells whether it multiplies bytes.
func (g neonGemm) bytes() bool { return g.kind == "sdot" || g.kind == "sudot" }

func (g neonGemm) signature() string {
	switch g.kind {
	case "chain":
		return "(k int, a *float32, lda int, b *float32, bs int, c *float32, ldc int)"
	case "gemm":
		return "(k int, a *float32, lda int, b *float32, bs int, c *float32, ldc int, acc int)"
	}
	return "(k4 int, a *uint8, lda int, b *int8, bs int, c *int32, ldc int, sums *int32)"
}

// partial moves 1, 2 or 3 elements at a register between memory and v; third is a register that points at the third.
func (a *asm) partial(store bool, n int, reg, third string, v int) {
	mov := map[int]string{1: "FMOVS", 2: "FMOVD", 3: "FMOVD"}[n]
	if store {
		a.op("%s F%d, (%s)", mov, v, reg)
	} else {
		a.op("%s (%s), F%d", mov, reg, v)
	}
	if n == 3 && store {
		a.op("VST1 V%d.S[2], (%s)", v, third)
	} else if n == 3 {
		a.op("VLD1 (%s), V%d.S[2]", third, v)
	}
}

// row moves one row of C between memory at R16 and registers from v on.
func (g neonGemm) row(a *asm, store bool, v int) {
	switch {
	case g.cols < 4:
		if g.cols == 3 {
			a.op("ADD $8, R16, R17")
		}
		a.partial(store, g.cols, "R16", "R17", v)
		a.op("ADD R6, R16")
	case g.cols == 32:
		a.op("ADD $64, R16, R17")
		for h, r := range []string{"R16", "R17"} {
			if store {
				a.op("VST1 %s, (%s)", vregs(v+4*h, 4), r)
			} else {
				a.op("VLD1 (%s), %s", r, vregs(v+4*h, 4))
			}
		}
		a.op("ADD R6, R16")
	case store:
		a.op("VST1 %s, (R16)", vregs(v, g.vecs()))
		a.op("ADD R6, R16")
	default:
		a.op("VLD1 (R16), %s", vregs(v, g.vecs()))
		a.op("ADD R6, R16")
	}
}

// loadB loads half h of a row of B to registers from v on and moves on.
func (g neonGemm) loadB(a *asm, h, v int) {
	switch {
	case g.cols == 32:
		a.op("VLD1.P (%s)(R4), %s", []string{"R3", "R17"}[h], vregs(v, 4))
	case g.cols >= 4 || g.bytes(): // packed bytes are filled up to 32 columns
		a.op("VLD1.P (R3)(R4), %s", vregs(v, g.vecs()))
	default:
		mov := map[int]string{1: "FMOVS", 2: "FMOVD", 3: "FMOVD"}[g.cols]
		a.op("%s (R3), F%d", mov, v)
		if g.cols == 3 {
			a.op("VLD1.P (R17)(R4), V%d.S[2]", v)
		}
		a.op("ADD R4, R3")
	}
}

// step emits one step of k with lane q of A.
func (g neonGemm) step(a *asm, q, firstA, firstB, sets int) {
	half := min(g.vecs(), 4)
	mul := map[string]string{"gemm": "fmlalan", "chain": "fmlalan", "sdot": "sdotlan", "sudot": "sudotln"}[g.kind]
	for h := 0; h*half < g.vecs(); h++ {
		b := firstB
		if sets > 1 {
			b += (q*g.vecs()/half + h) % 2 * half
		}
		g.loadB(a, h, b)
		for i := range g.mr {
			for v := range half {
				a.neon(mul, g.acc(i, h*half+v), b+v, firstA+i, q)
			}
		}
	}
}

func (g neonGemm) code(a *asm) {
	args := []string{"k", "a", "lda", "b", "bs", "c", "ldc"}
	switch g.kind {
	case "gemm":
		args = append(args, "acc")
	case "sdot", "sudot":
		args[0] = "k4"
		args = append(args, "sums")
	}
	a.text("func "+g.name()+g.signature(), g.name(), 8*len(args))
	for i, n := range args {
		a.op("MOVD %s+%d(FP), R%d", n, 8*i, i)
	}
	a.op("MOVD R1, R8")
	for i := 1; i < g.mr; i++ {
		a.op("ADD R2, R%d, R%d", 7+i, 8+i)
	}
	firstA := g.mr * g.vecs()
	firstB := firstA + g.mr
	flip := 31 // 0x80 in every byte
	half := min(g.vecs(), 4)
	sets := 1
	if firstB+2*half <= 31 {
		sets = 2
	}
	g.start(a)
	if g.kind == "sdot" {
		a.op("VMOVI $128, V%d.B16", flip)
	}
	load := func(op string, i int) {
		a.op(op, 8+i, firstA+i)
		if g.kind == "sdot" {
			a.three("VEOR", "B16", firstA+i, firstA+i, flip)
		}
	}
	a.op("SUBS $4, R0, R0")
	a.op("BLT rest")
	a.label("four")
	for i := range g.mr {
		load("FMOVQ.P 16(R%d), F%d", i)
	}
	for q := range 4 {
		g.step(a, q, firstA, firstB, sets)
	}
	a.op("SUBS $4, R0, R0")
	a.op("BGE four")
	a.label("rest")
	a.op("ADDS $4, R0, R0")
	a.op("BEQ done")
	a.label("one")
	for i := range g.mr {
		load("FMOVS.P 4(R%d), F%d", i)
	}
	g.step(a, 0, firstA, firstB, 1)
	a.op("SUBS $1, R0, R0")
	a.op("BNE one")
	a.label("done")
	if g.kind == "gemm" {
		g.addC(a)
	}
	a.op("MOVD R5, R16")
	for i := range g.mr {
		g.row(a, true, g.acc(i, 0))
	}
	a.op("RET")
}

// addC adds C to the accumulators if acc is not 0; the registers of A and B are free by then.
func (g neonGemm) addC(a *asm) {
	a.op("CBZ R7, alone")
	a.op("MOVD R5, R16")
	free := g.mr * g.vecs()
	for i := range g.mr {
		g.row(a, false, free)
		for v := range g.vecs() {
			a.neon("fadd", g.acc(i, v), g.acc(i, v), free+v)
		}
	}
	a.label("alone")
}

// start sets the accumulators: to 0, to C (chain), or to the sums in every row (sdot), and R17 to the second part of a row of B.
func (g neonGemm) start(a *asm) {
	switch g.kind {
	case "chain":
		a.op("MOVD R5, R16")
		for i := range g.mr {
			g.row(a, false, g.acc(i, 0))
		}
	case "gemm":
		for i := range g.mr * g.vecs() {
			a.clear(i)
		}
		switch g.cols {
		case 3:
			a.op("ADD $8, R3, R17")
		case 32:
			a.op("ADD $64, R3, R17")
		}
	case "sdot":
		a.op("MOVD R7, R16")
		g.row(a, false, 0)
		if g.cols == 32 {
			a.op("ADD $64, R3, R17")
		}
		for i := g.vecs(); i < g.mr*g.vecs(); i++ {
			a.three("VORR", "B16", i, i%g.vecs(), i%g.vecs())
		}
		for i := range g.mr * g.vecs() {
			a.op("VSHL $7, V%d.S4, V%d.S4", i, i)
		}
	default:
		if g.cols == 32 {
			a.op("ADD $64, R3, R17")
		}
		for i := range g.mr * g.vecs() {
			a.clear(i)
		}
	}
}

// neonShapes are the widths of the kernels and the most rows that they take; the narrow ones are for the columns at the edge.
var neonShapes = []struct{ cols, rows int }{{32, 3}, {8, 8}, {4, 8}, {3, 8}, {2, 8}, {1, 8}}

// neonBlock is the number of columns of the products of blocked images: half a block of channels.
const neonBlock = 8

// neonGemmFiles writes the products of float32 and of bytes.
func neonGemmFiles() []file {
	var out []file
	for _, f := range []struct {
		name  string
		kinds []string
	}{{"gemm_neon", []string{"gemm", "chain"}}, {"int8_neon_dot", []string{"sdot", "sudot"}}} {
		a := newARM("neongemm.go")
		var s strings.Builder
		s.WriteString(armHead("neongemm.go"))
		for _, kind := range f.kinds {
			for _, shape := range neonShapes {
				if kind == "chain" && shape.cols != neonBlock {
					continue
				}
				var g neonGemm
				for mr := 1; mr <= shape.rows; mr++ {
					g = neonGemm{mr, shape.cols, kind}
					g.code(a)
					fmt.Fprintf(&s, "\n//go:noescape\nfunc %s%s\n", g.name(), g.signature())
				}
				dispatch(&s, g.family(), shape.rows, g.signature(), kind)
			}
		}
		out = append(out, a.file(f.name+"_arm64.s"), goFile(f.name+"_stubs_arm64.go", s.String()))
	}
	return out
}

func armHead(by string) string {
	return "// Code generated by _gen/" + by + "; DO NOT EDIT.\n\n//go:build arm64 && !noasm\n\npackage kernel\n"
}

// dispatch writes the function that picks the kernel by rows.
func dispatch(s *strings.Builder, family string, rows int, signature, kind string) {
	doc := "c[i][j] = fma over q < k of a[i][q]*b[q][j], a chain from 0, plus the c[i][j] before if acc is not 0"
	switch kind {
	case "chain":
		doc = "c[i][j] = fma over q < k of a[i][q]*b[q][j], a chain from c[i][j]"
	case "sdot", "sudot":
		doc = "c[i][j] = sum over q < 4*k4 of a[i][q]*b[q/4][j][q%4]; sums are those of the columns of b"
	}
	fmt.Fprintf(s, "\n// %s calls the kernel for mr rows, 1 to %d. It computes\n// %s.\n// Strides are in bytes.\n", family, rows, doc)
	fmt.Fprintf(s, "func %s(mr int, %s {\n\tswitch mr {\n", family, signature[1:])
	var names []string
	for _, arg := range strings.Split(strings.Trim(signature, "()"), ", ") {
		names = append(names, strings.Fields(arg)[0])
	}
	for mr := 1; mr <= rows; mr++ {
		fmt.Fprintf(s, "\tcase %d:\n\t\t%sm%d(%s)\n", mr, family, mr, strings.Join(names, ", "))
	}
	s.WriteString("\t}\n}\n")
}
