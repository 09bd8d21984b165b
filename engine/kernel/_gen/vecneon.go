package main

import (
	"fmt"
	"strings"
)

// The vector programs in NEON: four lanes; V31 is the mask of the elements that a partial vector has. R0 to R8 are the pointers, which
// move along, R9 the elements left, R10 and R11 scratch, R12 the constants.
var isaNEON = isaVec{"NEON", 4, 31, 'V'}

const neonConst, neonMask = "R12", 31

// neonOps are the operations that are one instruction that Go's assembler lacks.
var neonOps = map[string]string{
	"VADDPS": "fadd", "VSUBPS": "fsub", "VMULPS": "fmul", "VDIVPS": "fdiv", "VSQRTPS": "fsqrt", "VCVTDQ2PS": "scvtf", "VCVTPS2DQ": "fcvtns",
}

// goOps are those that it knows, with their arrangement.
var goOps = map[string][2]string{
	"VANDPS": {"VAND", "B16"}, "VORPS": {"VORR", "B16"}, "VXORPS": {"VEOR", "B16"}, "VPADDD": {"VADD", "S4"}, "VPSUBD": {"VSUB", "S4"},
}

// neonOp writes an instruction through e.out, so that a dry run writes none.
func (e *em) neonOp(name string, d, n int, more ...int) {
	var a asm
	a.neon(name, d, n, more...)
	e.out("%s", strings.TrimSpace(a.b.String()))
}

func (e *em) threeOp(op, arr string, d, n, m int) {
	e.out("%s V%d.%s, V%d.%s, V%d.%s", op, m, arr, n, arr, d, arr)
}

// move copies a register.
func (e *em) move(d, n int) { e.threeOp("VORR", "B16", d, n, n) }

// neonNode emits the instructions of node i.
func (e *em) neonNode(i int, n node) {
	switch {
	case strings.HasPrefix(n.op, "load"):
		e.reg[i] = e.alloc()
		e.neonLoad(n, e.reg[i])
		if n.uses == 0 {
			e.release(e.reg[i])
		}
		return
	case strings.HasPrefix(n.op, "acc"):
		e.neonAccumulate(i, n)
		return
	}
	var tmps []int
	ops := make([]int, len(n.a))
	for k, x := range n.a {
		r, tmp := e.get(x)
		ops[k] = r
		if tmp {
			tmps = append(tmps, r)
		}
	}
	d := e.neonResult(i, n, ops, &tmps)
	e.drop(i, n.a...)
	for _, r := range tmps {
		e.release(r)
	}
	if d >= 0 {
		e.free[d-e.first] = false
		e.reg[i] = d
	}
}

// neonResult computes a value into a register that no operand has, but for those that this node uses up; -1 for a store.
func (e *em) neonResult(i int, n node, ops []int, tmps *[]int) int {
	// take returns the register of operand k to be overwritten, or a copy; others tells that no other operand may have it.
	take := func(k int) int {
		own := e.dies(i, n.a[k])
		for t, r := range *tmps {
			if r == ops[k] {
				*tmps, own = append((*tmps)[:t:t], (*tmps)[t+1:]...), true
				break
			}
		}
		for o, r := range ops {
			own = own && (o == k || r != ops[k])
		}
		if own {
			return ops[k]
		}
		d := e.alloc()
		e.move(d, ops[k])
		return d
	}
	switch n.op {
	case "store", "storeF16", "storeU16":
		e.neonStore(n, ops[0])
		return -1
	case "VFMADD", "VFNMADD":
		d := take(2)
		e.threeOp(map[string]string{"VFMADD": "VFMLA", "VFNMADD": "VFMLS"}[n.op], "S4", d, ops[0], ops[1])
		return d
	case "sel":
		d := take(0)
		e.threeOp("VBSL", "B16", d, ops[1], ops[2])
		return d
	}
	d := e.alloc()
	switch n.op {
	case "VCMPPS":
		x, y := ops[0], ops[1]
		switch n.imm {
		case cmpEQ:
			e.neonOp("fcmeq", d, x, y)
		case cmpLT:
			e.neonOp("fcmgt", d, y, x)
		case cmpGT:
			e.neonOp("fcmgt", d, x, y)
		case cmpNotGE:
			e.neonOp("fcmge", d, x, y)
			e.neonOp("not", d, d)
		case cmpUnord: // of one value
			if x != y {
				panic("unordered comparison of two values")
			}
			e.neonOp("fcmeq", d, x, y)
			e.neonOp("not", d, d)
		}
	case "VMINPS", "VMAXPS": // the second operand where they are equal or unordered
		x, y := ops[0], ops[1]
		if n.op == "VMINPS" {
			e.neonOp("fcmgt", d, y, x)
		} else {
			e.neonOp("fcmgt", d, x, y)
		}
		e.threeOp("VBSL", "B16", d, x, y)
	case "VPSRAD":
		e.neonOp("sshr", d, ops[0], n.imm)
	case "VPSRLD":
		e.out("VUSHR $%d, V%d.S4, V%d.S4", n.imm, ops[0], d)
	case "VPSLLD":
		e.out("VSHL $%d, V%d.S4, V%d.S4", n.imm, ops[0], d)
	case "VROUNDPS":
		e.neonOp(map[int]string{8: "frintn", 9: "frintm", 10: "frintp"}[n.imm], d, ops[0])
	default:
		if g, ok := goOps[n.op]; ok {
			e.threeOp(g[0], g[1], d, ops[0], ops[1])
		} else {
			e.neonOp(neonOps[n.op], d, ops[0], ops[1:]...)
		}
	}
	return d
}

// at is the place of a load or store in its stream, size bytes per element.
func (e *em) at(n node, size int) int { return (e.copy*e.isa.w + n.disp) * size }

func (e *em) neonLoad(n node, d int) {
	reg := fmt.Sprintf("R%d", n.imm)
	switch n.op {
	case "load":
		if e.tail {
			e.neonPartial(false, d, reg, e.at(n, 4))
			return
		}
		e.out("FMOVQ %d(%s), F%d", e.at(n, 4), reg, d)
	case "loadF16":
		e.out("FMOVD %d(%s), F%d", e.at(n, 2), reg, d)
		e.neonOp("fcvtl", d, d)
	case "loadBF16":
		e.out("FMOVD %d(%s), F%d", e.at(n, 2), reg, d)
		e.out("VUXTL V%d.H4, V%d.S4", d, d)
		e.out("VSHL $16, V%d.S4, V%d.S4", d, d)
	case "loadU8":
		e.out("FMOVS %d(%s), F%d", e.at(n, 1), reg, d)
		e.out("VUXTL V%d.B8, V%d.H8", d, d)
		e.out("VUXTL V%d.H4, V%d.S4", d, d)
		e.neonOp("scvtf", d, d)
	case "loadS8":
		e.out("FMOVS %d(%s), F%d", e.at(n, 1), reg, d)
		e.neonOp("sxtlb", d, d)
		e.neonOp("sxtlh", d, d)
		e.neonOp("scvtf", d, d)
	}
}

func (e *em) neonStore(n node, r int) {
	reg := fmt.Sprintf("R%d", n.imm)
	switch n.op {
	case "store":
		if e.tail {
			e.neonPartial(true, r, reg, e.at(n, 4))
			return
		}
		e.out("FMOVQ F%d, %d(%s)", r, e.at(n, 4), reg)
		return
	}
	t := e.alloc()
	e.neonOp(map[string]string{"storeF16": "fcvtn", "storeU16": "xtnh"}[n.op], t, r)
	e.out("FMOVD F%d, %d(%s)", t, e.at(n, 2), reg)
	e.release(t)
}

// neonPartial moves one, two or three elements, as the flags of R9 compared with 2 tell.
func (e *em) neonPartial(store bool, v int, reg string, off int) {
	e.labels++
	end := fmt.Sprintf("part%d", e.labels)
	lane := func(k int) {
		e.out("ADD $%d, %s, R10", off+4*k, reg)
		if store {
			e.out("VST1 V%d.S[%d], (R10)", v, k)
		} else {
			e.out("VLD1 (R10), V%d.S[%d]", v, k)
		}
	}
	if store {
		e.out("FMOVS F%d, %d(%s)", v, off, reg)
	} else {
		e.out("FMOVS %d(%s), F%d", off, reg, v)
	}
	e.out("BLT %s", end)
	lane(1)
	e.out("BEQ %s", end)
	lane(2)
	e.label(end)
}

// neonMinMax sets t = a where a is NaN, and MAXPS or MINPS of a and b elsewhere.
func (e *em) neonMinMax(kind string, t, a, b int) {
	if kind == "max" {
		e.neonOp("fcmgt", t, a, b)
	} else {
		e.neonOp("fcmgt", t, b, a)
	}
	e.threeOp("VBSL", "B16", t, a, b)
	m := e.alloc()
	e.neonOp("fcmeq", m, a, a)
	e.threeOp("VBIF", "B16", t, a, m)
	e.release(m)
}

// neonAccumulate folds a value into an accumulator, only in the lanes that the tail has.
func (e *em) neonAccumulate(i int, n node) {
	acc := n.imm*e.copies + e.copy%e.copies
	var tmps []int
	get := func(x int) int {
		r, tmp := e.get(x)
		if tmp {
			tmps = append(tmps, r)
		}
		return r
	}
	x := get(n.a[0])
	t := acc
	if e.tail || n.op == "accmax" || n.op == "accmin" {
		t = e.alloc()
	}
	switch n.op {
	case "accadd":
		e.neonOp("fadd", t, acc, x)
	case "accfma":
		y := get(n.a[1])
		if t != acc {
			e.move(t, acc)
		}
		e.threeOp("VFMLA", "S4", t, x, y)
	default:
		e.neonMinMax(n.op[3:], t, acc, x)
	}
	if t != acc {
		if e.tail {
			e.threeOp("VBIT", "B16", acc, t, neonMask)
		} else {
			e.move(acc, t)
		}
		e.release(t)
	}
	e.drop(i, n.a...)
	for _, r := range tmps {
		e.release(r)
	}
}

// neonFold folds accumulator i in halves into the lowest lane of its first register.
func (e *em) neonFold(i int) {
	kind := e.p.accs[i]
	fold := func(a, b int) {
		if kind == "add" {
			e.neonOp("fadd", a, a, b)
			return
		}
		t := e.alloc()
		e.neonMinMax(kind, t, a, b)
		e.move(a, t)
		e.release(t)
	}
	base := i * e.copies
	for h := e.copies / 2; h > 0; h /= 2 {
		for j := range h {
			fold(base+j, base+j+h)
		}
	}
	t := e.alloc()
	for _, by := range []int{8, 4} {
		e.out("VEXT $%d, V%d.B16, V%d.B16, V%d.B16", by, base, base, t)
		fold(base, t)
	}
	e.release(t)
}
