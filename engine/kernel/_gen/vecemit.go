package main

import (
	"fmt"
	"strings"
)

// commutative operations may swap their operands to use a constant from memory.
var commutative = map[string]bool{"VADDPS": true, "VMULPS": true, "VANDPS": true, "VORPS": true, "VXORPS": true, "VPADDD": true}

// node emits the instructions of node i.
func (e *em) node(i int) {
	n := e.nodes[i]
	switch {
	case n.op == "const" || n.op == "param":
	case e.isa.name == 'V':
		e.neonNode(i, n)
	case strings.HasPrefix(n.op, "load"):
		e.reg[i] = e.alloc()
		e.load(n, e.r(e.reg[i]))
		if n.uses == 0 {
			e.release(e.reg[i])
		}
	case strings.HasPrefix(n.op, "store"):
		e.store(i, n)
	case strings.HasPrefix(n.op, "acc"):
		e.accumulate(i, n)
	case n.op == "VFMADD" || n.op == "VFNMADD":
		e.fma(i, n)
	case n.op == "sel":
		e.sel(i, n)
	case n.op == "VCMPPS":
		e.compare(i, n)
	case len(n.a) == 1:
		s, tmp := e.get(n.a[0])
		e.drop(i, n.a...)
		if tmp {
			e.release(s)
		}
		e.reg[i] = e.alloc()
		imm := ""
		switch n.op {
		case "VPSRAD", "VPSRLD", "VPSLLD", "VROUNDPS", "VRNDSCALEPS":
			imm = fmt.Sprintf("$%d, ", n.imm)
		}
		e.out("%s %s%s, %s", n.op, imm, e.r(s), e.r(e.reg[i]))
	default:
		x, y := n.a[0], n.a[1]
		if e.inMem(x) && !e.inMem(y) && commutative[n.op] {
			x, y = y, x
		}
		s1, tmp := e.get(x)
		s2, suf := e.src(y)
		e.drop(i, n.a...)
		if tmp {
			e.release(s1)
		}
		e.reg[i] = e.alloc()
		e.out("%s%s %s, %s, %s", n.op, suf, s2, e.r(s1), e.r(e.reg[i]))
	}
}

func (e *em) load(n node, dst string) {
	switch n.op {
	case "load":
		switch {
		case !e.tail:
			e.out("VMOVUPS %s, %s", e.memIn(n.imm, 4, n.disp, n.band), dst)
		case e.isa.name == 'Z':
			e.out("VMOVUPS.Z %s, K1, %s", e.memIn(n.imm, 4, n.disp, n.band), dst)
		default:
			e.out("VMASKMOVPS %s, Y15, %s", e.memIn(n.imm, 4, n.disp, n.band), dst)
		}
	case "loadF16":
		e.out("VCVTPH2PS %s, %s", e.mem(n.imm, 2, n.disp), dst)
	case "loadBF16":
		e.out("VPMOVZXWD %s, %s", e.mem(n.imm, 2, n.disp), dst)
		e.out("VPSLLD $16, %s, %s", dst, dst)
	case "loadU8":
		e.out("VPMOVZXBD %s, %s", e.mem(n.imm, 1, n.disp), dst)
		e.out("VCVTDQ2PS %s, %s", dst, dst)
	case "loadS8":
		e.out("VPMOVSXBD %s, %s", e.mem(n.imm, 1, n.disp), dst)
		e.out("VCVTDQ2PS %s, %s", dst, dst)
	}
}

func (e *em) store(i int, n node) {
	r, tmp := e.get(n.a[0])
	switch n.op {
	case "store":
		switch {
		case !e.tail:
			e.out("VMOVUPS %s, %s", e.r(r), e.mem(n.imm, 4, n.disp))
		case e.isa.name == 'Z':
			e.out("VMOVUPS %s, K1, %s", e.r(r), e.mem(n.imm, 4, n.disp))
		default:
			e.out("VMASKMOVPS %s, Y15, %s", e.r(r), e.mem(n.imm, 4, n.disp))
		}
	case "storeF16":
		e.out("VCVTPS2PH $0, %s, %s", e.r(r), e.mem(n.imm, 2, n.disp))
	case "storeU16": // the low halves of 32-bit lanes, which are below 65536
		if e.isa.name == 'Z' {
			e.out("VPMOVDW %s, %s", e.r(r), e.mem(n.imm, 2, n.disp))
			break
		}
		t := e.alloc()
		e.out("VEXTRACTI128 $1, Y%d, X%d", r, t)
		e.out("VPACKUSDW X%d, X%d, X%d", t, r, t)
		e.out("VMOVDQU X%d, %s", t, e.mem(n.imm, 2, n.disp))
		e.release(t)
	}
	e.drop(i, n.a...)
	if tmp {
		e.release(r)
	}
}

// accumulate folds a value into an accumulator, only in the lanes that the tail has.
func (e *em) accumulate(i int, n node) {
	acc, z := e.acc(n.imm), e.isa.name == 'Z'
	mask := ""
	if e.tail && z {
		mask = "K1, "
	}
	x, tmp := e.get(n.a[0])
	switch n.op {
	case "accadd":
		if e.tail && !z {
			t := e.alloc()
			e.out("VANDPS %s, Y15, %s", e.r(x), e.r(t))
			e.out("VADDPS %s, %s, %s", e.r(t), acc, acc)
			e.release(t)
			break
		}
		e.out("VADDPS %s, %s, %s%s", e.r(x), acc, mask, acc)
	case "accfma":
		y, tmp2 := e.get(n.a[1])
		if e.tail && !z {
			t := e.alloc()
			e.out("VMOVAPS %s, %s", acc, e.r(t))
			e.out("VFMADD231PS %s, %s, %s", e.r(x), e.r(y), e.r(t))
			e.out("VBLENDVPS Y15, %s, %s, %s", e.r(t), acc, acc)
			e.release(t)
		} else {
			e.out("VFMADD231PS %s, %s, %s%s", e.r(x), e.r(y), mask, acc)
		}
		if tmp2 {
			e.release(y)
		}
	default: // accmax, accmin: NaN wins
		t := e.alloc()
		e.nanMinMax(n.op[3:], acc, e.r(x), e.r(t))
		switch {
		case !e.tail:
			e.out("VMOVAPS %s, %s", e.r(t), acc)
		case z:
			e.out("VMOVAPS %s, K1, %s", e.r(t), acc)
		default:
			e.out("VBLENDVPS Y15, %s, %s, %s", e.r(t), acc, acc)
		}
		e.release(t)
	}
	e.drop(i, n.a...)
	if tmp {
		e.release(x)
	}
}

// nanMinMax sets t = a where a is NaN, and MAXPS or MINPS of a and b elsewhere.
func (e *em) nanMinMax(kind, a, b, t string) {
	op := map[string]string{"max": "VMAXPS", "min": "VMINPS"}[kind]
	if e.isa.name == 'Z' && a[0] == 'Z' {
		e.out("VCMPPS $3, %s, %s, K7", a, a)
		e.out("%s %s, %s, %s", op, b, a, t)
		e.out("VMOVAPS %s, K7, %s", a, t)
		return
	}
	m := e.alloc() // on AVX-512 only in the fold, where registers are below 16
	ms := fmt.Sprintf("%c%d", a[0], m)
	e.out("VCMPPS $3, %s, %s, %s", a, a, ms)
	e.out("%s %s, %s, %s", op, b, a, t)
	e.out("VBLENDVPS %s, %s, %s, %s", ms, a, t, t)
	e.release(m)
}

func (e *em) sel(i int, n node) {
	m, x, y := n.a[0], n.a[1], n.a[2]
	s1, tmp := e.get(y)
	s2, suf := e.src(x)
	k := e.reg[m]
	e.drop(i, n.a...)
	if tmp {
		e.release(s1)
	}
	e.reg[i] = e.alloc()
	if e.isa.name == 'Z' {
		e.out("VBLENDMPS%s %s, %s, K%d, %s", suf, s2, e.r(s1), k, e.r(e.reg[i]))
		return
	}
	e.out("VBLENDVPS %s, %s, %s, %s", e.r(k), s2, e.r(s1), e.r(e.reg[i]))
}

func (e *em) compare(i int, n node) {
	s1, tmp := e.get(n.a[0])
	s2, suf := e.src(n.a[1])
	e.drop(i, n.a...)
	if tmp {
		e.release(s1)
	}
	if e.isa.name == 'Z' {
		e.reg[i] = e.allocK()
		e.out("VCMPPS%s $%d, %s, %s, K%d", suf, n.imm, s2, e.r(s1), e.reg[i])
		return
	}
	e.reg[i] = e.alloc()
	e.out("VCMPPS $%d, %s, %s, %s", n.imm, s2, e.r(s1), e.r(e.reg[i]))
}

// fma picks the form that overwrites an operand that dies and reads a constant from memory.
func (e *em) fma(i int, n node) {
	x, y, z := n.a[0], n.a[1], n.a[2]
	if e.inMem(x) && !e.inMem(y) {
		x, y = y, x
	}
	if !e.inMem(x) && e.dies(i, y) && !e.dies(i, x) {
		x, y = y, x
	}
	// now a constant in memory among the factors, if any, is y
	var tmps []int
	reg := func(v int) int {
		r, tmp := e.get(v)
		if tmp {
			tmps = append(tmps, r)
		}
		return r
	}
	fresh := func(from int) int { // a register to overwrite
		r := e.alloc()
		e.out("VMOVAPS %s, %s", e.r(from), e.r(r))
		return r
	}
	var d int
	switch {
	case e.inMem(y): // 231: z += x*mem; 132: x = x*mem + z
		xr, zr := reg(x), reg(z)
		m, suf := e.src(y)
		if e.dies(i, x) && !e.dies(i, z) && x != z {
			e.out("%s132PS%s %s, %s, %s", n.op, suf, m, e.r(zr), e.r(xr))
			d = xr
		} else {
			d = zr
			if !e.dies(i, z) || z == x {
				if len(tmps) > 0 && tmps[len(tmps)-1] == zr {
					tmps = tmps[:len(tmps)-1]
				} else {
					d = fresh(zr)
				}
			}
			e.out("%s231PS%s %s, %s, %s", n.op, suf, m, e.r(xr), e.r(d))
		}
	case e.dies(i, z) && z != x && z != y:
		d = reg(z)
		e.out("%s231PS %s, %s, %s", n.op, e.r(reg(y)), e.r(reg(x)), e.r(d))
	default: // 213: x = y*x + z
		xr, yr := reg(x), reg(y)
		m, suf := e.src(z)
		d = xr
		if !e.dies(i, x) || x == z {
			d = fresh(xr)
		}
		e.out("%s213PS%s %s, %s, %s", n.op, suf, m, e.r(yr), e.r(d))
	}
	e.drop(i, n.a...)
	for _, r := range tmps {
		e.release(r)
	}
	if d >= e.first {
		e.free[d-e.first] = false
	}
	e.reg[i] = d
}

// foldAcc folds accumulator i in halves into the lowest lane of its first register.
func (e *em) foldAcc(i int) {
	kind := e.p.accs[i]
	lanesOp := func(a, b string, pre byte, r int) {
		if kind == "add" {
			e.out("VADDPS %s, %s, %s", b, a, a)
			return
		}
		t := e.alloc()
		ts := fmt.Sprintf("%c%d", pre, t)
		e.nanMinMax(kind, a, b, ts)
		e.out("VMOVAPS %s, %s", ts, a)
		e.release(t)
	}
	base := i * e.copies
	for h := e.copies / 2; h > 0; h /= 2 {
		for j := range h {
			lanesOp(e.r(base+j), e.r(base+j+h), e.isa.name, base)
		}
	}
	t := e.alloc()
	if e.isa.name == 'Z' {
		e.out("VEXTRACTF64X4 $1, Z%d, Y%d", base, t)
		lanesOp(fmt.Sprintf("Y%d", base), fmt.Sprintf("Y%d", t), 'Y', base)
	}
	e.out("VEXTRACTF128 $1, Y%d, X%d", base, t)
	a, b := fmt.Sprintf("X%d", base), fmt.Sprintf("X%d", t)
	lanesOp(a, b, 'X', base)
	e.out("VPSHUFD $14, %s, %s", a, b)
	lanesOp(a, b, 'X', base)
	e.out("VPSHUFD $1, %s, %s", a, b)
	lanesOp(a, b, 'X', base)
	e.release(t)
}
