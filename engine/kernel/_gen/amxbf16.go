package main

import (
	"fmt"
	"strings"
)

// bf16Fields are the fields of bf16Args, eight bytes each, in order. Strides are in bytes.
var bf16Fields = []string{
	"config",   // the 64 bytes of LDTILECFG
	"steps",    // of 32 k
	"a", "lda", // first tile of A, and the distance of the tiles of the next 16 rows
	"b", "bs", "ps", // first panel of B, the distance of its rows (pairs of k), and that of the next panel
	"c", "ldc", // first element
	"blocks", "panels", // blocks of rows, panels of 32 columns
	"load",       // 1 if the sums start at C instead of 0
	"atB", "atC", // b and c of the panel that is computed
}

var bf16Types = map[string]string{"config": "*tileShapes", "a": "*uint16", "b": "*uint16", "c": "*float32", "atB": "uintptr", "atC": "uintptr"}

func bf16Off(name string) int {
	for i, f := range bf16Fields {
		if f == name {
			return 8 * i
		}
	}
	panic(name)
}

// amxBF16Kernel writes the product of blocks of rt tiles of rows with panels of ct tiles of columns. A lies tile by tile; a panel of B
// holds pairs of k, so 16 of its rows are a tile as they lie. Tiles 0 to 3 are C, 4 and 5 A, 6 and 7 B. The configuration is loaded
// first and the tiles are released last: no tile state outlives the call. While the rows of one panel are computed the next one is
// fetched: the weights of a model come from far away.
func amxBF16Kernel(a *asm, stubs *strings.Builder, rt, ct int) {
	name := fmt.Sprintf("amxBF16x%dx%d", rt, ct)
	decl := fmt.Sprintf("func %s(args *bf16Args)", name)
	fmt.Fprintf(stubs, "\n// %s multiplies blocks of %d tile(s) of rows by panels of %d tile(s) of columns.\n//\n//go:noescape\n%s\n", name, rt, ct, decl)
	a.text(decl, name, 8)
	load := func(field, reg string) { a.op("MOVQ %d(R15), %s", bf16Off(field), reg) }
	a.op("MOVQ args+0(FP), R15")
	load("config", "AX")
	a.inst(tileConfig(mem{base: "AX"}))
	for _, p := range [][2]string{{"b", "atB"}, {"c", "atC"}} { // the pointers stay where they are: behind the last panel they would point to nothing
		load(p[0], "AX")
		a.op("MOVQ AX, %d(R15)", bf16Off(p[1]))
	}
	a.op("MOVQ $64, R8")
	load("bs", "R9")
	load("ldc", "R13")
	a.label("panel")
	load("a", "SI")
	load("atC", "BX")
	load("blocks", "DX")
	load("atB", "R14")
	a.op("ADDQ %d(R15), R14", bf16Off("ps"))
	a.label("block")
	load("atB", "DI")
	load("steps", "CX")
	a.op("MOVQ R9, AX")
	a.op("SHLQ $4, AX") // 16 rows of B
	a.op("MOVQ SI, R10")
	if rt == 2 {
		a.op("MOVQ SI, R11")
		a.op("ADDQ %d(R15), R11", bf16Off("lda"))
		a.op("MOVQ R13, R12")
		a.op("SHLQ $4, R12")
		a.op("ADDQ BX, R12") // row 16 of C
	}
	sums := func(f func(tile int, m mem)) {
		for r := range rt {
			for c := range ct {
				f(2*r+c, mem{base: []string{"BX", "R12"}[r], index: "R13", scale: 1, disp: 64 * c})
			}
		}
	}
	a.op("CMPQ %d(R15), $0", bf16Off("load"))
	a.op("JNE  load")
	sums(func(t int, _ mem) { a.inst(tileZero(t)) })
	a.op("JMP  step")
	a.label("load")
	sums(func(t int, m mem) { a.inst(tileLoad(t, m)) })
	a.label("step")
	for c := range ct {
		a.inst(tileLoad(6+c, mem{base: "DI", index: "R9", scale: 1, disp: 64 * c}))
	}
	for r := range rt {
		a.inst(tileLoad(4+r, mem{base: []string{"R10", "R11"}[r], index: "R8", scale: 1}))
		for c := range ct {
			a.inst(tileDotBF16(2*r+c, 4+r, 6+c))
		}
	}
	for i := range 8 {
		a.op("PREFETCHT1 %d(R14)", 64*i)
	}
	a.op("ADDQ $512, R14")
	a.op("ADDQ $1024, R10")
	if rt == 2 {
		a.op("ADDQ $1024, R11")
	}
	a.op("ADDQ AX, DI")
	a.op("DECQ CX")
	a.op("JNE  step")
	sums(func(t int, m mem) { a.inst(tileStore(m, t)) })
	load("lda", "AX")
	a.op("LEAQ (SI)(AX*%d), SI", rt)
	a.op("MOVQ R13, AX")
	a.op("SHLQ $%d, AX", 3+rt)
	a.op("ADDQ AX, BX")
	a.op("DECQ DX")
	a.op("JNE  block")
	load("ps", "AX")
	a.op("ADDQ AX, %d(R15)", bf16Off("atB"))
	a.op("ADDQ $128, %d(R15)", bf16Off("atC"))
	a.op("DECQ %d(R15)", bf16Off("panels"))
	a.op("JNE  panel")
	a.inst(tileRelease())
	a.op("RET")
}

// amxBF16Files writes the bfloat16 products on tiles.
func amxBF16Files() []file {
	var s strings.Builder
	fmt.Fprintf(&s, goHead, "amxbf16.go")
	s.WriteString("\n// bf16Args are the arguments of the bfloat16 products on tiles, which change the numbers among them; strides are in bytes. atB and atC are theirs.\ntype bf16Args struct {\n")
	for _, f := range bf16Fields {
		t := bf16Types[f]
		if t == "" {
			t = "int"
		}
		fmt.Fprintf(&s, "\t%-6s %s\n", f, t)
	}
	s.WriteString("}\n")
	a := newAsm("amxbf16.go")
	for rt := 1; rt <= 2; rt++ {
		for ct := 1; ct <= 2; ct++ {
			amxBF16Kernel(a, &s, rt, ct)
		}
	}
	return []file{a.file("amxbf16_amd64.s"), {"amxbf16_stubs_amd64.go", []byte(s.String())}}
}
