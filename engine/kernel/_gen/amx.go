package main

import (
	"fmt"
	"strings"
)

// amxFields are the fields of amxArgs, eight bytes each, in order. Strides are in bytes.
var amxFields = []string{
	"config",          // the 64 bytes of LDTILECFG
	"steps",           // of k
	"width", "widthB", // bytes of A, and of a panel, in a step
	"a", "lda", // first row
	"b", "bs", // first panel, and the distance of the next
	"c", "ldc", // first element
	"blocks", "panels", // blocks of rows, panels of 32 columns
	"load",       // 1 if the sums start at C instead of 0
	"atB", "atC", // b and c of the panel that is computed
}

var amxTypes = map[string]string{"config": "*tileShapes", "a": "*uint8", "b": "*int8", "c": "*int32", "atB": "uintptr", "atC": "uintptr"}

func amxOff(name string) int {
	for i, f := range amxFields {
		if f == name {
			return 8 * i
		}
	}
	panic(name)
}

// amxPrefetch is the number of lines of the next panel that a step asks for: two blocks of rows fetch all of it. Weights that lie beyond the L2
// cache arrive in time then.
const amxPrefetch = 16

// amxKernel writes the product of blocks of rt tiles of rows with panels of ct tiles of columns. A panel holds 32 columns, so its 16 groups
// of four rows, 128 bytes apart, are the tile of B as it lies. Tiles 0 to 3 are C, 4 and 5 A, 6 and 7 B. The configuration is loaded
// first and the tiles are released last: no tile state outlives the call.
func amxKernel(a *asm, stubs *strings.Builder, rt, ct int) {
	name := fmt.Sprintf("amxU8S8x%dx%d", rt, ct)
	decl := fmt.Sprintf("func %s(args *amxArgs)", name)
	fmt.Fprintf(stubs, "\n// %s multiplies blocks of %d tile(s) of rows by panels of %d tile(s) of columns.\n//\n//go:noescape\n%s\n", name, rt, ct, decl)
	a.text(decl, name, 8)
	load := func(field, reg string) { a.op("MOVQ %d(R15), %s", amxOff(field), reg) }
	a.op("MOVQ args+0(FP), R15")
	load("config", "AX")
	a.inst(tileConfig(mem{base: "AX"}))
	for _, p := range [][2]string{{"b", "atB"}, {"c", "atC"}} { // the pointers stay where they are: behind the last panel they would point to nothing
		load(p[0], "AX")
		a.op("MOVQ AX, %d(R15)", amxOff(p[1]))
	}
	load("lda", "R8")
	a.op("MOVQ $128, R9")
	load("ldc", "R13")
	a.label("panel")
	load("a", "SI")
	load("atC", "BX")
	load("blocks", "DX")
	load("atB", "R14")
	a.op("ADDQ %d(R15), R14", amxOff("bs"))
	a.label("block")
	load("atB", "DI")
	load("steps", "CX")
	a.op("MOVQ SI, R10")
	if rt == 2 {
		a.op("MOVQ R8, R11")
		a.op("SHLQ $4, R11")
		a.op("ADDQ SI, R11") // row 16 of A
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
	a.op("CMPQ %d(R15), $0", amxOff("load"))
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
			a.inst(tileDotU8S8(2*r+c, 4+r, 6+c))
		}
	}
	for i := range amxPrefetch {
		a.op("PREFETCHT0 %d(R14)", 64*i)
	}
	a.op("ADDQ $%d, R14", 64*amxPrefetch)
	a.op("MOVQ %d(R15), AX", amxOff("width"))
	a.op("ADDQ AX, R10")
	if rt == 2 {
		a.op("ADDQ AX, R11")
	}
	a.op("ADDQ %d(R15), DI", amxOff("widthB"))
	a.op("DECQ CX")
	a.op("JNE  step")
	sums(func(t int, m mem) { a.inst(tileStore(m, t)) })
	for _, p := range [][2]string{{"R8", "SI"}, {"R13", "BX"}} {
		a.op("MOVQ %s, R10", p[0])
		a.op("SHLQ $5, R10")
		a.op("ADDQ R10, %s", p[1])
	}
	a.op("DECQ DX")
	a.op("JNE  block")
	load("bs", "R10")
	a.op("ADDQ R10, %d(R15)", amxOff("atB"))
	a.op("ADDQ $128, %d(R15)", amxOff("atC"))
	a.op("DECQ %d(R15)", amxOff("panels"))
	a.op("JNE  panel")
	a.inst(tileRelease())
	a.op("RET")
}

// amxFiles writes the int8 products on tiles.
func amxFiles() []file {
	var s strings.Builder
	fmt.Fprintf(&s, goHead, "amx.go")
	s.WriteString("\n// amxArgs are the arguments of the products on tiles, which change the numbers among them; strides are in bytes. atB and atC are theirs.\ntype amxArgs struct {\n")
	for _, f := range amxFields {
		t := amxTypes[f]
		if t == "" {
			t = "int"
		}
		fmt.Fprintf(&s, "\t%-6s %s\n", f, t)
	}
	s.WriteString("}\n")
	a := newAsm("amx.go")
	for rt := 1; rt <= 2; rt++ {
		for ct := 1; ct <= 2; ct++ {
			amxKernel(a, &s, rt, ct)
		}
	}
	return []file{a.file("amx_amd64.s"), {"amx_stubs_amd64.go", []byte(s.String())}}
}
