package main

import (
	"fmt"
	"strings"
)

// tileFields are the fields of blockTile in order: a slice (s) takes 24 bytes, an int (i) 8; lim is the last, an array of float32.
var tileFields = []struct{ name, kind string }{
	{"x", "s"}, {"w", "s"}, {"y", "s"}, {"res", "s"}, {"bias", "s"}, {"taps", "s"},
	{"x0", "i"}, {"w0", "i"}, {"y0", "i"}, {"nicb", "i"}, {"xicb", "i"}, {"wicb", "i"}, {"wocb", "i"},
	{"kfull", "i"}, {"klast", "i"}, {"xs", "i"}, {"ys", "i"}, {"yocb", "i"}, {"more", "i"}, {"act", "i"},
	{"lines", "i"}, {"xl", "i"}, {"yl", "i"}, {"wl", "i"}, {"b0", "i"}, {"bl", "i"}, {"ahead", "i"}, {"fetch", "i"}, {"lim", "i"},
}

func tileOff(name string) int {
	at := 0
	for _, f := range tileFields {
		if f.name == name {
			return at
		}
		at += map[string]int{"s": 24, "i": 8}[f.kind]
	}
	panic(name)
}

// blockKernel is a micro-kernel of convolutions over blocks of 16 channels: p pixels times nv vectors of channels.
// Registers: DI tile, R14 x, R15 w, R8 xs, R9 wocb (or ys and yocb), SI R10 R11 R12 pixels 0 3 6 9, BX w, R13 tap, CX taps left, DX k left.
type blockKernel struct {
	isa  string // Z or Y
	kind string // dense, depth or max
	p    int
	b    int // blocks of output channels (dense)
}

func (k blockKernel) name() string {
	w := map[string]string{"Z": "512", "Y": "256"}[k.isa]
	switch {
	case k.kind == "dense" && k.isa == "Z":
		return fmt.Sprintf("blockDense%sb%dp%d", w, k.b, k.p)
	case k.kind == "dense":
		return fmt.Sprintf("blockDense%sp%d", w, k.p)
	case k.kind == "max":
		return fmt.Sprintf("blockMax%sp%d", w, k.p)
	}
	return fmt.Sprintf("blockDepth%sp%d", w, k.p)
}

// nv is the number of vectors per pixel.
func (k blockKernel) nv() int {
	if k.isa == "Y" {
		return 2
	}
	return k.b
}

func (k blockKernel) acc(i, v int) string { return fmt.Sprintf("%s%d", k.isa, i*k.nv()+v) }

// tmp are registers outside of the sums: four, Z24-27 or Y12-15; with AVX-512 there are eight.
func (k blockKernel) tmp(i int) string {
	return fmt.Sprintf("%s%d", k.isa, map[string]int{"Z": 24, "Y": 12}[k.isa]+i)
}

// vec addresses vector v: of the same block, or of the block that lies the register step on.
func (k blockKernel) vec(base string, off, v int, step string) string {
	switch {
	case v == 0:
	case k.isa == "Y":
		off += 32
	case v == 3: // AX holds three steps
		return fmt.Sprintf("%s(%s)(AX*1)", offset(off), base)
	default:
		return fmt.Sprintf("%s(%s)(%s*%d)", offset(off), base, step, v)
	}
	return fmt.Sprintf("%s(%s)", offset(off), base)
}

func offset(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// elems loads a field that counts elements, as bytes.
func elems(a *asm, field, reg string) {
	a.op("MOVQ %d(DI), %s", tileOff(field), reg)
	a.op("SHLQ $2, %s", reg)
}

func (k blockKernel) emit(a *asm, stubs *strings.Builder) {
	decl := fmt.Sprintf("func %s(t *blockTile)", k.name())
	fmt.Fprintf(stubs, "\n//go:noescape\n%s\n", decl)
	fmt.Fprintf(&a.b, "\n// %s\nTEXT ·%s(SB), NOSPLIT, $8-8\n", decl, k.name())
	a.op("MOVQ t+0(FP), DI")
	a.label("line")
	if k.kind == "dense" && k.b < 4 { // four blocks have so few pixels that reading their weights in order is the work
		k.prefetch(a)
	}
	k.start(a)
	a.op("MOVQ %d(DI), CX", tileOff("taps")+8)
	a.op("TESTQ CX, CX")
	a.op("JEQ  finish")
	elems(a, "xs", "R8")
	for _, f := range [][2]string{{"x", "R14"}, {"w", "R15"}} {
		a.op("MOVQ %d(DI), %s", tileOff(f[0]), f[1])
		a.op("MOVQ %d(DI), AX", tileOff(f[0]+"0"))
		a.op("LEAQ (%s)(AX*4), %s", f[1], f[1])
	}
	if k.kind == "dense" {
		k.dense(a)
	} else {
		k.depth(a)
	}
	k.finish(a)
}

// prefetch asks for the tile's share of the next weights, which otherwise come from outside of the L2 cache one by one when they are multiplied,
// and with AVX2 for what the tile writes and what it adds at its end: with AVX-512 that gains nothing (ResNet-50 on Emerald Rapids).
func (k blockKernel) prefetch(a *asm) {
	if k.isa == "Y" {
		k.prefetchOutput(a)
	}
	a.op("MOVQ %d(DI), CX", tileOff("fetch"))
	a.op("TESTQ CX, CX")
	a.op("JEQ  fetched")
	if k.b > 1 {
		elems(a, "wocb", "R9")
	}
	a.op("MOVQ %d(DI), DX", tileOff("ahead"))
	a.op("MOVQ %d(DI), BX", tileOff("w"))
	a.op("LEAQ (BX)(DX*4), BX")
	a.label("fetch")
	for _, at := range []string{"(BX)", "(BX)(R9*1)"}[:max(k.b, 1)] {
		a.op("PREFETCHT1 %s", at)
	}
	a.op("ADDQ $64, BX")
	a.op("ADDQ $16, DX")
	a.op("DECQ CX")
	a.op("JNE  fetch")
	a.op("MOVQ DX, %d(DI)", tileOff("ahead"))
	a.label("fetched")
}

// prefetchOutput asks for the lines of y, to write them, and of res.
func (k blockKernel) prefetchOutput(a *asm) {
	each := func(f func()) {
		for i := range k.p {
			f()
			if i < k.p-1 {
				a.op("ADDQ R8, BX")
			}
		}
	}
	elems(a, "ys", "R8")
	a.op("MOVQ %d(DI), AX", tileOff("y0"))
	a.op("MOVQ %d(DI), BX", tileOff("y"))
	a.op("LEAQ (BX)(AX*4), BX")
	each(func() { a.inst(prefetchW(mem{base: "BX"})) })
	a.op("MOVQ %d(DI), BX", tileOff("res"))
	a.op("TESTQ BX, BX")
	a.op("JEQ  ahead")
	a.op("LEAQ (BX)(AX*4), BX")
	each(func() { a.op("PREFETCHT0 (BX)") })
	a.label("ahead")
}

// start sets the sums to the bias, or to 0 where the tile continues; those of max to -Inf.
func (k blockKernel) start(a *asm) {
	if k.kind == "max" {
		a.op("MOVL $0xff800000, AX")
		a.op("VMOVD AX, X0")
		a.op("VBROADCASTSS X0, %s", k.acc(0, 0))
		for i := 1; i < k.p*k.nv(); i++ {
			a.op("VMOVAPS %s, %s", k.acc(0, 0), k.acc(0, i))
		}
		return
	}
	a.op("MOVQ %d(DI), BX", tileOff("bias"))
	if k.kind == "dense" {
		a.op("TESTQ BX, BX")
		a.op("JEQ  zero")
	}
	a.op("MOVQ %d(DI), AX", tileOff("b0"))
	a.op("LEAQ (BX)(AX*4), BX")
	for v := range k.nv() {
		a.op("VMOVUPS %s(BX), %s", offset(v*map[string]int{"Z": 64, "Y": 32}[k.isa]), k.acc(0, v))
	}
	for i := 1; i < k.p; i++ {
		for v := range k.nv() {
			a.op("VMOVAPS %s, %s", k.acc(0, v), k.acc(i, v))
		}
	}
	if k.kind == "depth" {
		return
	}
	a.op("JMP  begin")
	a.label("zero")
	for i := range k.p * k.nv() {
		r := k.acc(0, i)
		a.op("%s %s, %s, %s", map[string]string{"Z": "VPXORD", "Y": "VPXOR"}[k.isa], r, r, r)
	}
	a.label("begin")
}

// output calls f for every vector of y, or of what lies like it.
func (k blockKernel) output(a *asm, field string, f func(at, reg string)) {
	a.op("MOVQ %d(DI), BX", tileOff(field))
	a.op("MOVQ %d(DI), AX", tileOff("y0"))
	a.op("LEAQ (BX)(AX*4), BX")
	if k.p > 1 {
		elems(a, "ys", "R8")
	}
	if k.b > 1 {
		elems(a, "yocb", "R9")
	}
	if k.b == 4 {
		a.op("LEAQ (R9)(R9*2), AX")
	}
	for i := range k.p {
		for v := range k.nv() {
			f(k.vec("BX", 0, v, "R9"), k.acc(i, v))
		}
		if i < k.p-1 {
			a.op("ADDQ R8, BX")
		}
	}
}

// pixels sets the pointers of a tap; R13 points at it.
func (k blockKernel) pixels(a *asm) {
	a.op("MOVQ (R13), SI")
	a.op("LEAQ (R14)(SI*4), SI")
	if k.p > 3 {
		a.op("LEAQ (R8)(R8*2), AX")
	}
	for i := 1; i < (k.p+2)/3; i++ {
		a.op("LEAQ (%s)(AX*1), %s", rowPtr[i-1], rowPtr[i])
	}
	a.op("MOVQ 8(R13), BX")
	a.op("LEAQ (R15)(BX*4), BX")
}

func (k blockKernel) dense(a *asm) {
	if k.b > 1 {
		elems(a, "wocb", "R9")
	}
	a.op("MOVQ %d(DI), AX", tileOff("nicb"))
	a.op("MOVQ AX, left-8(SP)")
	a.label("block")
	a.op("MOVQ %d(DI), R13", tileOff("taps"))
	a.op("MOVQ %d(DI), CX", tileOff("taps")+8)
	a.label("tap")
	k.pixels(a)
	if k.b == 4 {
		a.op("LEAQ (R9)(R9*2), AX")
	}
	a.op("MOVQ %d(DI), DX", tileOff("kfull"))
	a.op("CMPQ left-8(SP), $1")
	a.op("CMOVQEQ %d(DI), DX", tileOff("klast"))
	const unroll = 4
	adv := func(n int) {
		for i := range (k.p + 2) / 3 {
			a.op("ADDQ $%d, %s", 4*n, rowPtr[i])
		}
		a.op("ADDQ $%d, BX", 64*n)
	}
	a.op("SUBQ $%d, DX", unroll)
	a.op("JLT  tail")
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("loop")
	for u := range unroll {
		k.step(a, u)
	}
	adv(unroll)
	a.op("SUBQ $%d, DX", unroll)
	a.op("JGE  loop")
	a.label("tail")
	a.op("ADDQ $%d, DX", unroll)
	a.op("JEQ  next")
	a.label("one")
	k.step(a, 0)
	adv(1)
	a.op("DECQ DX")
	a.op("JNE  one")
	a.label("next")
	a.op("ADDQ $16, R13")
	a.op("DECQ CX")
	a.op("JNE  tap")
	for _, f := range [][2]string{{"xicb", "R14"}, {"wicb", "R15"}} {
		a.op("MOVQ %d(DI), AX", tileOff(f[0]))
		a.op("LEAQ (%s)(AX*4), %s", f[1], f[1])
	}
	a.op("DECQ left-8(SP)")
	a.op("JNE  block")
}

// step multiplies input channel u with its rows of weights.
func (k blockKernel) step(a *asm, u int) {
	w := make([]string, k.nv())
	for v := range w {
		w[v] = k.tmp(v)
		if k.isa == "Z" && k.b < 4 {
			w[v] = k.tmp(v + 2*(u&1))
		}
		a.op("VMOVUPS %s, %s", k.vec("BX", 64*u, v, "R9"), w[v])
	}
	for i := range k.p {
		if k.nv() == 1 {
			a.op("VFMADD231PS.BCST %s, %s, %s", rowAddr(i, 4*u), w[0], k.acc(i, 0))
			continue
		}
		x := k.tmp(4 + i&3)
		if k.isa == "Y" {
			x = k.tmp(2 + i&1)
		}
		a.op("VBROADCASTSS %s, %s", rowAddr(i, 4*u), x)
		for v := range w {
			a.op("VFMADD231PS %s, %s, %s", w[v], x, k.acc(i, v))
		}
	}
}

// depth is a window over single channels.
func (k blockKernel) depth(a *asm) {
	a.op("MOVQ %d(DI), R13", tileOff("taps"))
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("tap")
	k.pixels(a)
	if k.kind != "max" {
		for v := range k.nv() {
			a.op("VMOVUPS %s, %s", k.vec("BX", 0, v, ""), k.tmp(v))
		}
	}
	for i := range k.p {
		for v := range k.nv() {
			at := rowAddr(i, 32*v)
			if k.kind != "max" {
				a.op("VFMADD231PS %s, %s, %s", at, k.tmp(v), k.acc(i, v))
				continue
			}
			// The larger one, and a NaN if there is one: VMAXPS gives its second source, first here, where one is NaN.
			a.op("VMOVUPS %s, %s", at, k.tmp(0))
			a.op("VMAXPS %s, %s, %s", k.tmp(0), k.acc(i, v), k.tmp(1))
			a.op("VMAXPS %s, %s, %s", k.acc(i, v), k.tmp(0), k.tmp(2))
			a.op("VORPS %s, %s, %s", k.tmp(1), k.tmp(2), k.acc(i, v))
		}
	}
	a.op("ADDQ $16, R13")
	a.op("DECQ CX")
	a.op("JNE  tap")
}

// blockChoice writes a function that calls the kernel of a number of pixels (and blocks).
func blockChoice(s *strings.Builder, name string, ks []blockKernel) {
	fmt.Fprintf(s, "\n// %s calls the kernel for p pixels, and b blocks of output channels.\nfunc %s(t *blockTile, p, b int) {\n\tswitch b*16 + p {\n", name, name)
	for _, k := range ks {
		fmt.Fprintf(s, "\tcase %d:\n\t\t%s(t)\n", k.b*16+k.p, k.name())
	}
	s.WriteString("\t}\n}\n")
}

// blockFiles writes the kernels of convolutions and poolings over blocks of channels.
func blockFiles() []file {
	var stubs, args strings.Builder
	fmt.Fprintf(&stubs, goHead, "convblocked.go")
	args.WriteString("// Code generated by _gen/convblocked.go; DO NOT EDIT.\n\npackage kernel\n\n" +
		"// blockTile is one call of a micro-kernel over blocks of channels: some pixels and one or two blocks of output channels. All\n" +
		"// offsets and strides count elements.\ntype blockTile struct {\n" + tileDoc + "}\n")
	var out []file
	for _, isa := range []string{"Z", "Y"} {
		a := newAsm("convblocked.go")
		w, most := "512", 12
		if isa == "Y" {
			w, most = "256", 6
		}
		for _, kind := range []string{"dense", "depth", "max"} {
			var ks []blockKernel
			for _, b := range []int{1, 2, 4} {
				if b > 1 && (isa == "Y" || kind != "dense") {
					continue
				}
				for p := 1; p <= most && (kind != "max" || p <= 6) && (b < 4 || p <= 3); p++ {
					ks = append(ks, blockKernel{isa, kind, p, b})
				}
			}
			for _, k := range ks {
				k.emit(a, &stubs)
			}
			blockChoice(&stubs, map[string]string{"dense": "blockDense", "depth": "blockDepth", "max": "blockMax"}[kind]+w, ks)
		}
		blockMean(a, isa, w)
		out = append(out, a.file("convblocked"+w+"_amd64.s"))
	}
	return append(out, file{"convblocked_stubs_amd64.go", []byte(stubs.String())}, file{"convblocked_tile.go", []byte(args.String())})
}

const tileDoc = `	x, w, y []float32  // input, packed weights, output
	res     []float32  // added to the sums, lies like y; nil for none
	bias    []float32  // what the sums start at, by channel; nil where they start at 0 and are added to those in y (dense)
	taps    []blockTap // kernel elements inside the input
	x0      int        // of pixel 0 in x, for a tap of offset 0
	w0, y0  int
	nicb    int // blocks of input channels, with distances in x and w
	xicb    int
	wicb    int
	wocb    int // distance of the second block's weights
	kfull   int // input channels in a block, and in the last one
	klast   int
	xs, ys  int // distances of pixels
	yocb    int // distance of the second block in y
	more    int // 1 when sums are not complete yet: no residual and no activation
	act     int // see blockAct
	lines   int // as many such tiles: the kernel adds xl to x0 and so on, and counts lines down
	xl, yl  int
	wl      int // depthwise alone, with b0, the place in bias
	b0, bl  int
	ahead   int // place in w of the next weights, of which a dense kernel prefetches fetch lines of 16 of each of its blocks in every tile
	fetch   int
	lim     [5]float32
`
