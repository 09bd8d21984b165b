package main

import "fmt"

// What the micro-kernels do with C, before and after their loop.

// start zeroes the sums, or, in a dot kernel, loads them from C where it shall.
func (t tile) start(a *asm, mr int) {
	xor := map[string]string{"Z": "VPXORD", "Y": "VPXOR"}[t.isa]
	if t.dot && t.acc {
		t.testAcc(a)
		a.op("JNE  load")
	}
	for i := range mr {
		for v := range t.nv {
			a.op("%s %s, %s, %s", xor, t.sum(i, v), t.sum(i, v), t.sum(i, v))
		}
	}
	if t.own {
		a.op("MOVQ BX, CX")
		t.ownRows(a, mr)
	}
	if !t.dot || !t.acc {
		return
	}
	a.op("JMP  start")
	a.label("load")
	a.op("MOVQ BX, CX")
	for i := range mr {
		for v := range t.nv {
			t.loadVec(a, fmt.Sprintf("%d(CX)", v*t.width()), v, t.sum(i, v))
		}
		if i < mr-1 {
			a.op("ADDQ R13, CX")
		}
	}
	a.label("start")
}

// testAcc compares the argument acc with 0.
func (t tile) testAcc(a *asm) {
	at := 56
	if t.masked {
		at = 64
	}
	a.op("MOVQ acc+%d(FP), CX", at)
	a.op("TESTQ CX, CX")
}

// addC adds C to the sums if acc is not 0. The registers of B and of A are free by then.
func (t tile) addC(a *asm, mr int) {
	t.testAcc(a)
	a.op("JEQ  alone")
	a.op("MOVQ BX, CX")
	for i := range mr {
		for v := range t.nv {
			from, sum := fmt.Sprintf("%d(CX)", v*t.width()), t.sum(i, v)
			switch {
			case !t.masked:
				a.op("VADDPS %s, %s, %s", from, sum, sum)
			case t.isa == "Z":
				a.op("VADDPS %s, %s, K%d, %s", from, sum, v+1, sum)
			default:
				x := fmt.Sprintf("Y%d", t.nv*mr+v)
				t.loadVec(a, from, v, x)
				a.op("VADDPS %s, %s, %s", x, sum, sum)
			}
		}
		if i < mr-1 {
			a.op("ADDQ R13, CX")
		}
	}
	a.label("alone")
}

// ownRows prefetches the first and the last byte of mr rows of C at CX to write them.
func (t tile) ownRows(a *asm, mr int) {
	for i := range mr {
		a.inst(prefetchW(mem{base: "CX"}))
		a.inst(prefetchW(mem{base: "CX", disp: t.nv*t.width() - 1}))
		if i < mr-1 {
			a.op("ADDQ R13, CX")
		}
	}
}

// loadVec loads vector v of a row of B or C.
func (t tile) loadVec(a *asm, from string, v int, to string) {
	switch {
	case !t.masked:
		a.op("%s %s, %s", t.load, from, to)
	case t.isa == "Z":
		a.op("%s.Z %s, K%d, %s", t.load, from, v+1, to)
	default:
		a.op("VMASKMOVPS %s, Y%d, %s", from, 14+v, to)
	}
}

func (t tile) storeC(a *asm, from string, v int) {
	to := fmt.Sprintf("%d(BX)", v*t.width())
	switch {
	case !t.masked:
		a.op("%s %s, %s", t.store, from, to)
	case t.isa == "Z":
		a.op("%s %s, K%d, %s", t.store, from, v+1, to)
	default:
		a.op("VMASKMOVPS %s, Y%d, %s", from, 14+v, to)
	}
}
