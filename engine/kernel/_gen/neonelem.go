package main

import "strings"

// neonElem are the conversions between float32 and bytes and the element-wise functions of bytes; n is a multiple of 16 but for
// requantizeNEON, which takes 8 at a time.
type neonElem struct {
	a *asm
	s strings.Builder
}

// start declares a function with pointer-sized arguments, loaded to R0, R1 and so on; later arguments are the caller's business.
func (e *neonElem) start(name, doc, signature string, size int, args ...string) {
	e.s.WriteString("\n// " + name + " " + doc + "\n//\n//go:noescape\nfunc " + name + signature + "\n")
	e.a.text("func "+name+signature, name, size)
	for i, arg := range args {
		e.a.op("MOVD %s+%d(FP), R%d", arg, 8*i, i)
	}
}

// splat loads a 32-bit argument into every lane of v.
func (e *neonElem) splat(arg string, off, v int) {
	e.a.op("FMOVS %s+%d(FP), F%d", arg, off, v)
	e.a.op("VDUP V%d.S[0], V%d.S4", v, v)
}

// loop repeats body until R, which counts down by step, is 0.
func (e *neonElem) loop(count string, step int, body func()) {
	e.a.label("loop")
	body()
	e.a.op("SUBS $%d, %s, %s", step, count, count)
	e.a.op("BNE loop")
	// what follows is reached by falling through
}

// clamp sets v to lo where it is not above lo, and to hi where it is above; t is scratch.
func (e *neonElem) clamp(v, lo, hi, t int) {
	e.a.neon("fcmgt", t, v, lo)
	e.a.three("VBSL", "B16", t, v, lo)
	e.a.neon("fmin", v, t, hi)
}

// narrow packs four registers of small integers from v on into the bytes of v.
func (e *neonElem) narrow(v int) {
	e.a.three("VUZP1", "H8", v, v, v+1)
	e.a.three("VUZP1", "H8", v+2, v+2, v+3)
	e.a.three("VUZP1", "B16", v, v, v+2)
}

// widen turns the 16 bytes of v into floats in v to v+3.
func (e *neonElem) widen(v int) {
	e.a.op("VUXTL2 V%d.B16, V%d.H8", v, v+2)
	e.a.op("VUXTL V%d.B8, V%d.H8", v, v)
	e.a.op("VUXTL2 V%d.H8, V%d.S4", v+2, v+3)
	e.a.op("VUXTL V%d.H4, V%d.S4", v+2, v+2)
	e.a.op("VUXTL2 V%d.H8, V%d.S4", v, v+1)
	e.a.op("VUXTL V%d.H4, V%d.S4", v, v)
	for i := range 4 {
		e.a.neon("scvtf", v+i, v+i)
	}
}

func (e *neonElem) minMax() {
	e.start("minMaxNEON", "returns the range of 0 and n elements; a NaN is ignored.", "(x *float32, n int) (lo, hi float32)", 24, "x", "n")
	a := e.a
	for i := range 8 {
		a.clear(i)
	}
	e.loop("R1", 16, func() {
		a.op("VLD1.P 64(R0), %s", vregs(16, 4))
		for i := range 4 {
			a.neon("fcmgt", 20+i, i, 16+i)
			a.neon("fcmgt", 24+i, 16+i, 4+i)
			a.three("VBIT", "B16", i, 16+i, 20+i)
			a.three("VBIT", "B16", 4+i, 16+i, 24+i)
		}
	})
	for _, f := range []struct {
		op   string
		at   int
		name string
		off  int
	}{{"fmin", 0, "lo", 16}, {"fmax", 4, "hi", 20}} {
		a.neon(f.op, f.at, f.at, f.at+1)
		a.neon(f.op, f.at+2, f.at+2, f.at+3)
		a.neon(f.op, f.at, f.at, f.at+2)
		for _, by := range []int{8, 4} {
			a.op("VEXT $%d, V%d.B16, V%d.B16, V16.B16", by, f.at, f.at)
			a.neon(f.op, f.at, f.at, 16)
		}
		a.op("FMOVS F%d, %s+%d(FP)", f.at, f.name, f.off)
	}
	a.op("RET")
}

func (e *neonElem) quantize() {
	e.start("quantizeU8NEON", "sets q[i] = clamp(round(x[i]/scale), lo, hi) + zero.",
		"(x *float32, n int, q *uint8, scale, lo, hi float32, zero int32)", 40, "x", "n", "q")
	a := e.a
	for i, arg := range []string{"scale", "lo", "hi", "zero"} {
		e.splat(arg, 24+4*i, 28+i)
	}
	e.loop("R1", 16, func() {
		a.op("VLD1.P 64(R0), %s", vregs(0, 4))
		for i := range 4 {
			a.neon("fdiv", i, i, 28)
			e.clamp(i, 29, 30, 4+i)
			a.neon("fcvtns", i, i)
			a.three("VADD", "S4", i, i, 31)
		}
		e.narrow(0)
		a.op("VST1.P [V0.B16], 16(R2)")
	})
	a.op("RET")
}

func (e *neonElem) requantize() {
	e.start("requantizeNEON", "sets y[i] = (clamp(round(float32(acc[i]+bias[i])*scale[i]), lo, hi) + zero) ^ flip, 8 at a time; the increments of scale and bias are in bytes.",
		"(acc *int32, n int, y *uint8, scale *float32, scaleInc int, bias *int32, biasInc int, lo, hi float32, zero int32, flip uint32)", 72,
		"acc", "n", "y", "scale", "scaleInc", "bias", "biasInc")
	a := e.a
	for i, arg := range []string{"lo", "hi", "zero", "flip"} {
		e.splat(arg, 56+4*i, 28+i)
	}
	e.loop("R1", 8, func() {
		a.op("VLD1.P 32(R0), %s", vregs(0, 2))
		a.op("VLD1.P (R3)(R4), %s", vregs(4, 2))
		a.op("VLD1.P (R5)(R6), %s", vregs(6, 2))
		for i := range 2 {
			a.three("VADD", "S4", i, i, 6+i)
			a.neon("scvtf", i, i)
			a.neon("fmul", i, i, 4+i)
			e.clamp(i, 28, 29, 8+i)
			a.neon("fcvtns", i, i)
			a.three("VADD", "S4", i, i, 30)
		}
		a.three("VUZP1", "H8", 0, 0, 1)
		a.three("VUZP1", "B16", 0, 0, 0)
		a.three("VEOR", "B16", 0, 0, 31)
		a.op("FMOVD.P F0, 8(R2)")
	})
	a.op("RET")
}

func (e *neonElem) sums() {
	a := e.a
	e.start("sumU8NEON", "adds n bytes modulo 2^32.", "(x *uint8, n int) uint32", 20, "x", "n")
	a.clear(0)
	e.loop("R1", 16, func() {
		a.op("VLD1.P 16(R0), [V1.B16]")
		a.neon("uaddlp", 1, 1)
		a.neon("uadalp", 0, 1)
	})
	a.op("VADDV V0.S4, V0")
	a.op("FMOVS F0, ret+16(FP)")
	a.op("RET")

	e.start("sumRowsU8NEON", "adds rows of n bytes, ld apart, to the sums.", "(acc *int32, n int, x *uint8, rows, ld int)", 40, "acc", "n", "x", "rows", "ld")
	e.loop("R1", 16, func() {
		a.op("VLD1 (R0), %s", vregs(0, 4))
		a.op("MOVD R2, R5")
		a.op("MOVD R3, R6")
		a.label("row")
		a.op("VLD1.P (R5)(R4), [V4.B16]")
		a.op("VUXTL2 V4.B16, V5.H8")
		a.op("VUXTL V4.B8, V4.H8")
		for i, from := range []int{4, 5} {
			a.op("VUADDW V%d.H4, V%d.S4, V%d.S4", from, 2*i, 2*i)
			a.op("VUADDW2 V%d.H8, V%d.S4, V%d.S4", from, 2*i+1, 2*i+1)
		}
		a.op("SUBS $1, R6, R6")
		a.op("BNE row")
		a.op("VST1.P %s, 64(R0)", vregs(0, 4))
		a.op("ADD $16, R2")
	})
	a.op("RET")
}

func (e *neonElem) bytes() {
	a := e.a
	e.start("addU8NEON", "is AddU8.Apply.", "(dst, x, y *uint8, n int, f *AddU8)", 40, "dst", "x", "y", "n", "f")
	for i := range 5 { // A, B, Fixed, Lo, Hi
		a.op("VLD1R.P 4(R4), [V%d.S4]", 27+i)
	}
	e.loop("R3", 16, func() {
		a.op("VLD1.P 16(R1), [V0.B16]")
		a.op("VLD1.P 16(R2), [V4.B16]")
		e.widen(0)
		e.widen(4)
		for i := range 4 {
			a.three("VORR", "B16", 8+i, 29, 29)
			a.three("VFMLA", "S4", 8+i, 4+i, 28)
			a.three("VFMLA", "S4", 8+i, i, 27)
			e.clamp(8+i, 30, 31, 12+i)
			a.neon("fcvtns", 8+i, 8+i)
		}
		e.narrow(8)
		a.op("VST1.P [V8.B16], 16(R0)")
	})
	a.op("RET")

	e.start("mulU8NEON", "is MulU8.Apply.", "(dst, x, y *uint8, n int, f *MulU8)", 40, "dst", "x", "y", "n", "f")
	for i := range 6 { // ZA, ZB, Ratio, Lo, Hi, Zero
		a.op("VLD1R.P 4(R4), [V%d.S4]", 26+i)
	}
	a.neon("fcvtns", 31, 31)
	e.loop("R3", 16, func() {
		a.op("VLD1.P 16(R1), [V0.B16]")
		a.op("VLD1.P 16(R2), [V4.B16]")
		e.widen(0)
		e.widen(4)
		for i := range 4 {
			a.neon("fsub", i, i, 26)
			a.neon("fsub", 4+i, 4+i, 27)
			a.neon("fmul", i, i, 4+i)
			a.neon("fmul", i, i, 28)
			e.clamp(i, 29, 30, 8+i)
			a.neon("fcvtns", i, i)
			a.three("VADD", "S4", i, i, 31)
		}
		e.narrow(0)
		a.op("VST1.P [V0.B16], 16(R0)")
	})
	a.op("RET")

	e.start("maxU8NEON", "sets dst[i] = max(dst[i], src[i]).", "(dst, src *uint8, n int)", 24, "dst", "src", "n")
	e.loop("R2", 16, func() {
		a.op("VLD1 (R0), [V0.B16]")
		a.op("VLD1.P 16(R1), [V1.B16]")
		a.three("VUMAX", "B16", 0, 0, 1)
		a.op("VST1.P [V0.B16], 16(R0)")
	})
	a.op("RET")

	e.start("lookupNEON", "sets dst[i] = t[src[i]].", "(dst, src *uint8, n int, t *uint8)", 32, "dst", "src", "n", "t")
	for i := range 4 {
		a.op("VLD1.P 64(R3), [V%d.B16, V%d.B16, V%d.B16, V%d.B16]", 16+4*i, 17+4*i, 18+4*i, 19+4*i)
	}
	a.op("VMOVI $64, V2.B16")
	e.loop("R2", 16, func() {
		a.op("VLD1.P 16(R1), [V0.B16]")
		for i, op := range []string{"VTBL", "VTBX", "VTBX", "VTBX"} {
			if i > 0 {
				a.three("VSUB", "B16", 0, 0, 2)
			}
			a.op("%s V0.B16, [V%d.B16, V%d.B16, V%d.B16, V%d.B16], V1.B16", op, 16+4*i, 17+4*i, 18+4*i, 19+4*i)
		}
		a.op("VST1.P [V1.B16], 16(R0)")
	})
	a.op("RET")
}

// blocks are the depthwise and pooling kernels of blocked images: 16 channels of one pixel, tap after tap.
func (e *neonElem) blocks() {
	a := e.a
	for _, max := range []bool{false, true} {
		name, doc := "blockDepthNEON", "adds x[x0+tap.x+l]*w[w0+tap.w+l] to s[l], fused, for n taps; 16 channels l."
		if max {
			name, doc = "blockMaxNEON", "sets s[l] = max(s[l], x[x0+tap.x+l]) for n taps; 16 channels l; w is not read."
		}
		e.start(name, doc, "(s, x, w *float32, taps *blockTap, n, x0, w0 int)", 56, "s", "x", "w", "taps", "n", "x0", "w0")
		a.op("ADD R5<<2, R1")
		a.op("ADD R6<<2, R2")
		a.op("VLD1 (R0), %s", vregs(0, 4))
		e.loop("R4", 1, func() {
			a.op("LDP.P 16(R3), (R5, R6)")
			a.op("ADD R5<<2, R1, R5")
			a.op("VLD1 (R5), %s", vregs(4, 4))
			if !max {
				a.op("ADD R6<<2, R2, R6")
				a.op("VLD1 (R6), %s", vregs(8, 4))
			}
			for i := range 4 {
				if max {
					a.neon("fmax", i, i, 4+i)
				} else {
					a.three("VFMLA", "S4", i, 4+i, 8+i)
				}
			}
		})
		a.op("VST1 %s, (R0)", vregs(0, 4))
		a.op("RET")
	}
}

func neonElemFiles() []file {
	e := &neonElem{a: newARM("neonelem.go")}
	e.s.WriteString(armHead("neonelem.go"))
	e.minMax()
	e.quantize()
	e.requantize()
	e.sums()
	e.bytes()
	e.blocks()
	return []file{e.a.file("int8_neon_elem_arm64.s"), goFile("int8_neon_elem_stubs_arm64.go", e.s.String())}
}
