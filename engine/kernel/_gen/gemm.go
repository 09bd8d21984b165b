package main

import (
	"fmt"
	"strings"
)

// tile describes a family of micro-kernels: MR rows of A times nv vectors of columns.
type tile struct {
	name   string // function name without the row count
	isa    string // "Z" (AVX-512) or "Y" (AVX2)
	nv     int    // vectors per row
	masked bool

	aType, bType   string
	cType          string
	load, bc, fma  string
	store          string
	acc            bool // has an argument that adds the chain to C, or, of a dot kernel, starts it there
	doc            string
	unroll         int
	prefetch       bool // of what lies 1 KiB on in B, the next rows if it is packed, or of its next columns if it is not: pays from 9 rows on
	embedBroadcast bool // the multiply takes its broadcast from memory
	own            bool // asks for the lines of C before it needs them, to write: stores to lines that are far away wait for each other
	sweep          bool // has arguments pf and step: in every turn of its loop it prefetches what lies at pf, and pf moves by step bytes
	bias           bool // has a last argument bias: a row that is added at the end where it is not nil
	inPlace        bool // instead of bs it has offs: row q of B lies at b + 4*offs[q]
	rowBias        bool // has a last argument rowBias: its element i is added to row i at the end where it is not nil
	half           halfKind
	dot            bool // rows of A and B hold pairs of bfloat16, a k of the kernel is a pair, and the multiply is VDPBF16PS
}

func (t tile) width() int { return map[string]int{"Z": 64, "Y": 32}[t.isa] }

// rowPtr are the registers that point at rows 0, 3, 6, 9 of A.
var rowPtr = []string{"SI", "R10", "R11", "R12"}

// rowAddr is the address of row i of A, d bytes on. R8 holds lda.
func rowAddr(i, d int) string {
	off := ""
	if d != 0 {
		off = fmt.Sprint(d)
	}
	if i%3 == 0 {
		return fmt.Sprintf("%s(%s)", off, rowPtr[i/3])
	}
	return fmt.Sprintf("%s(%s)(R8*%d)", off, rowPtr[i/3], i%3)
}

// decl is the Go declaration of the kernel with mr rows.
func (t tile) decl(mr int) string {
	args := fmt.Sprintf("k int, a *%s, lda int, b *%s, %s, c *%s, ldc int", t.aType, t.bType, t.rowsOfB(), t.cType)
	if t.masked {
		args += map[string]string{"Z": ", mask uint64", "Y": ", mask *int32"}[t.isa]
	}
	if t.acc {
		args += ", acc int"
	}
	if t.sweep {
		args += ", pf *float32, step int"
	}
	if t.bias {
		args += ", bias *float32"
	}
	if t.rowBias {
		args += ", rowBias *float32"
	}
	return fmt.Sprintf("func %s%d(%s)", t.name, mr, args)
}

func (t tile) argBytes() int {
	n := 56
	if t.masked {
		n += 8
	}
	if t.acc {
		n += 8
	}
	if t.sweep {
		n += 16
	}
	if t.bias || t.rowBias {
		n += 8
	}
	return n
}

// kernel writes the micro-kernel with mr rows. Registers: DX k, SI R10-R12 rows of A, R8 lda, DI b, R9 bs or offs, R15 3*bs,
// BX c, R13 ldc, CX and AX scratch; of a sweep, which has no more than six rows, R11 pf and R12 step.
func (t tile) kernel(a *asm, mr int) {
	a.text(t.decl(mr), fmt.Sprintf("%s%d", t.name, mr), t.argBytes())
	rows, _, _ := strings.Cut(t.rowsOfB(), " ")
	for _, l := range []string{"k+0(FP), DX", "a+8(FP), SI", "lda+16(FP), R8", "b+24(FP), DI", rows + "+32(FP), R9", "c+40(FP), BX", "ldc+48(FP), R13"} {
		a.op("MOVQ %s", l)
	}
	if t.sweep {
		a.op("MOVQ pf+64(FP), R11")
		a.op("MOVQ step+72(FP), R12")
	}
	t.loadMask(a)
	t.half.loadMask(a, t.highMask())
	groups := (mr + 2) / 3
	if groups > 1 {
		a.op("LEAQ (R8)(R8*2), AX")
		for i := 1; i < groups; i++ {
			a.op("LEAQ (%s)(AX*1), %s", rowPtr[i-1], rowPtr[i])
		}
	}
	if t.unroll > 3 && !t.inPlace {
		a.op("LEAQ (R9)(R9*2), R15")
	}
	t.start(a, mr)
	adv := func(n int) {
		for i := range groups {
			a.op("ADDQ $%d, %s", 4*n, rowPtr[i])
		}
		if t.inPlace {
			a.op("ADDQ $%d, R9", 8*n)
		} else if n /= t.half.perRow(); n == 1 {
			a.op("ADDQ R9, DI")
		} else {
			a.op("LEAQ (DI)(R9*%d), DI", n)
		}
	}
	a.op("SUBQ $%d, DX", t.unroll)
	a.op("JLT  tail")
	if t.masked && t.isa == "Z" {
		a.op("KORTESTW K%[1]d, K%[1]d", t.nv)
		a.op("JCC  loop")
		plain := t
		plain.masked = false
		plain.loop(a, mr, "full", adv)
		a.op("JMP  tail")
	}
	t.loop(a, mr, "loop", adv)
	a.label("tail")
	a.op("ADDQ $%d, DX", t.unroll)
	a.op("JEQ  store")
	a.label("one")
	t.step(a, mr, 0)
	if t.half == bf16 {
		a.op("DECQ DX")
		a.op("JEQ  store")
		t.step(a, mr, 1)
	}
	adv(t.half.perRow())
	a.op("DECQ DX")
	a.op("JNE  one")
	a.label("store")
	if t.acc && !t.dot {
		t.addC(a, mr)
	}
	if t.bias || t.rowBias {
		t.addBias(a, mr)
	}
	for i := range mr {
		for v := range t.nv {
			t.storeC(a, t.sum(i, v), v)
		}
		if i < mr-1 {
			a.op("ADDQ R13, BX")
		}
	}
	a.op("VZEROUPPER")
	a.op("RET")
}

// loop is the loop of unroll steps, and of as many as are left over adds that number to DX.
func (t tile) loop(a *asm, mr int, label string, adv func(int)) {
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label(label)
	for u := range t.unroll {
		t.step(a, mr, u)
		if t.sweep && u == 1 {
			a.op("PREFETCHT1 (R11)")
			a.op("ADDQ R12, R11")
		}
	}
	adv(t.unroll)
	a.op("SUBQ $%d, DX", t.unroll)
	a.op("JGE  %s", label)
}

// sum names the accumulator of row i, vector v.
func (t tile) sum(i, v int) string { return fmt.Sprintf("%s%d", t.isa, t.nv*i+v) }

// loadMask sets K1 and K2, or Y14 and Y15.
func (t tile) loadMask(a *asm) {
	if !t.masked {
		return
	}
	a.op("MOVQ mask+56(FP), AX")
	if t.isa == "Z" {
		a.op("KMOVW AX, K1")
		if t.nv == 2 {
			a.op("SHRQ $16, AX")
			a.op("KMOVW AX, K2")
		}
		return
	}
	for v := range t.nv {
		a.op("VMOVDQU %d(AX), Y%d", 32*v, 14+v)
	}
}

// step is one k (or one group of four k in int8): row u of B from DI.
func (t tile) step(a *asm, mr, u int) {
	base := []string{"(DI)", "(DI)(R9*1)", "(DI)(R9*2)", "(DI)(R15*1)"}[u/t.half.perRow()]
	if t.inPlace {
		base = []string{"(DI)(AX*4)", "(DI)(CX*4)"}[u&1]
		a.op("MOVQ %d(R9), %s", 8*u, base[5:7])
	}
	b := make([]string, t.nv)
	for v := range t.nv {
		n := t.nv*mr + v
		if t.isa == "Z" {
			n = 24 + (u&1)*2 + v
		}
		b[v] = fmt.Sprintf("%s%d", t.isa, n)
		off := ""
		if v > 0 {
			off = fmt.Sprint(v * t.half.bytes(t.width()))
		}
		if t.half != whole {
			t.half.widen(a, t.isa, off+base, t.highMask(), b[v], u)
			continue
		}
		t.loadVec(a, off+base, v, b[v])
	}
	if t.prefetch && mr > 8 && u%t.half.perRow() == 0 {
		far := 1024
		if t.inPlace { // the last of each half of the next columns
			far = 188
		}
		a.op("PREFETCHT0 %d%s", far, base)
		if t.half != f16 { // a row is two lines
			a.op("PREFETCHT0 %d%s", far+64, base)
		}
	}
	for i := range mr {
		if t.embedBroadcast {
			t.mulMem(a, i, 4*u, b[0])
			continue
		}
		n := t.nv*mr + t.nv
		switch {
		case t.isa == "Z" && t.half == bf16:
			n = 28 + i%3
		case t.isa == "Z":
			n = 28 + i&3
		case t.half == bf16: // one register is left
		case n < 13 || !t.masked:
			n += i & 1 // two in turn; Y14 and Y15 may hold masks
		}
		x := fmt.Sprintf("%s%d", t.isa, n)
		a.op("%s %s, %s", t.bc, rowAddr(i, 4*u), x)
		for v := range t.nv {
			t.mul(a, b[v], x, t.sum(i, v))
		}
	}
}

// mul adds the products of two registers to sum.
func (t tile) mul(a *asm, b, x, sum string) {
	if t.dot {
		a.inst(dotBF16(t.isa, vecNum(sum), vecNum(b), regNum(vecNum(x)), false))
		return
	}
	a.op("%s %s, %s, %s", t.fma, b, x, sum)
}

// mulMem adds the products of b and the element of A in row i, d bytes on, to vector 0 of that row.
func (t tile) mulMem(a *asm, i, d int, b string) {
	if t.dot {
		at := mem{base: rowPtr[i/3], disp: d}
		if i%3 > 0 {
			at.index, at.scale = "R8", i%3
		}
		a.inst(dotBF16(t.isa, vecNum(t.sum(i, 0)), vecNum(b), at, true))
		return
	}
	a.op("%s.BCST %s, %s, %s", t.fma, rowAddr(i, d), b, t.sum(i, 0))
}

// stub writes the Go declarations of rows 1..max and a function that chooses by the row count.
func (t tile) stub(s *strings.Builder, max int) {
	for mr := 1; mr <= max; mr++ {
		fmt.Fprintf(s, "\n//go:noescape\n%s\n", t.decl(mr))
	}
	decl := t.decl(0)
	args := decl[strings.Index(decl, "(")+1 : len(decl)-1]
	var names []string
	for _, p := range strings.Split(args, ", ") {
		names = append(names, strings.Fields(p)[0])
	}
	fmt.Fprintf(s, "\n// %s calls the kernel for mr rows, 1 to %d. %s\nfunc %s(mr int, %s) {\n\tswitch mr {\n", t.name, max, t.doc, t.name, args)
	for mr := 1; mr <= max; mr++ {
		fmt.Fprintf(s, "\tcase %d:\n\t\t%s%d(%s)\n", mr, t.name, mr, strings.Join(names, ", "))
	}
	s.WriteString("\t}\n}\n")
}

const goHead = "// Code generated by _gen/%s; DO NOT EDIT.\n\n//go:build amd64 && !noasm\n\npackage kernel\n"

const f32Doc = `It computes
// c[i][j] = fma over q < k of a[i][q]*b[q][j], a chain from 0, plus the c[i][j] before if acc is not 0. Strides are in bytes.`

const biasDoc = `
// bias[j] is added to the sums where it is not nil.`

const atDoc = `
// Row q of b begins at b + 4*offs[q]. rowBias[i] is added to row i where it is not nil.`

func f32Tiles() []struct {
	t   tile
	max int
} {
	f := tile{aType: "float32", bType: "float32", cType: "float32", load: "VMOVUPS", store: "VMOVUPS", bc: "VBROADCASTSS", fma: "VFMADD231PS", acc: true, doc: f32Doc}
	z2, z1, y2, ym, at := f, f, f, f, f
	z2.name, z2.isa, z2.nv, z2.masked, z2.unroll = "gemm512x32m", "Z", 2, true, 4
	z2.prefetch, z2.own, z2.bias = true, true, true
	z1.name, z1.isa, z1.nv, z1.masked, z1.unroll, z1.embedBroadcast = "gemm512x16m", "Z", 1, true, 4, true
	z1.bias = true
	y2.name, y2.isa, y2.nv, y2.unroll, y2.own, y2.sweep, y2.bias = "gemm256x16m", "Y", 2, 4, true, true, true
	z2.doc, z1.doc, y2.doc = f32Doc+biasDoc, f32Doc+biasDoc, f32Doc+biasDoc
	at.name, at.isa, at.nv, at.masked, at.unroll, at.prefetch, at.own, at.inPlace, at.rowBias = "gemm512x32at", "Z", 2, true, 4, true, true, true, true
	at.doc += atDoc
	ym.name, ym.isa, ym.nv, ym.masked, ym.unroll = "gemm256x16masked", "Y", 2, true, 2
	return []struct {
		t   tile
		max int
	}{{z2, 12}, {z1, 12}, {y2, 6}, {ym, 4}, {at, 12}}
}

// gemmFiles writes the float32 micro-kernels.
func gemmFiles() []file {
	var stubs strings.Builder
	fmt.Fprintf(&stubs, goHead, "gemm.go")
	var out []file
	for _, isa := range []string{"Z", "Y"} {
		a := newAsm("gemm.go")
		for _, x := range f32Tiles() {
			if x.t.isa != isa {
				continue
			}
			for mr := 1; mr <= x.max; mr++ {
				x.t.kernel(a, mr)
			}
			x.t.stub(&stubs, x.max)
		}
		f32 := vecTile{isa: isa, elem: "float32", bc: "VBROADCASTSS", load: "VMOVUPS", fma: "VFMADD231PS", acc: true}
		for mr := 1; mr <= f32.maxRows(); mr++ {
			f32.name = map[string]string{"Z": "gemv512m", "Y": "gemv256m"}[isa]
			f32.kernel(a, &stubs, mr)
		}
		out = append(out, a.file(map[string]string{"Z": "gemm_avx512_amd64.s", "Y": "gemm_avx2_amd64.s"}[isa]))
	}
	return append(out, file{"gemm_stubs_amd64.go", []byte(stubs.String())})
}
