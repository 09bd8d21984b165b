package main

import "fmt"

// rowsOfB is the argument that tells where the rows of B are.
func (t tile) rowsOfB() string {
	if t.inPlace {
		return "offs *int"
	}
	return "bs int"
}

// addBias adds the row at bias, or the column at rowBias, to the sums.
func (t tile) addBias(a *asm, mr int) {
	name := map[bool]string{false: "bias", true: "rowBias"}[t.rowBias]
	a.op("MOVQ %s+%d(FP), AX", name, t.argBytes()-8)
	a.op("TESTQ AX, AX")
	a.op("JEQ  sums")
	if t.rowBias {
		for i := range t.nv * mr {
			a.op("VADDPS.BCST %d(AX), %s, %[2]s", i/t.nv*4, t.sum(0, i))
		}
		a.label("sums")
		return
	}
	at := 14
	if t.isa == "Z" {
		at = 24
	}
	for v := range t.nv {
		t.loadVec(a, fmt.Sprintf("%d(AX)", v*t.width()), v, fmt.Sprintf("%s%d", t.isa, at+v))
	}
	for i := range mr {
		for v := range t.nv {
			a.op("VADDPS %s%d, %s, %[3]s", t.isa, at+v, t.sum(i, v))
		}
	}
	a.label("sums")
}
