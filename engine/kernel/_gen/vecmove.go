package main

import "fmt"

// moveFiles generates routines that only move data; AVX2 serves every higher level too.
func moveFiles() []file {
	a := newAsm("vecmove.go")
	a.text(`func stride2AVX2(dst, src *float32, n int)
for i := range n { dst[i] = src[2*i] }; n is a positive multiple of 8 and 2n elements of src may be read`, "stride2AVX2", 24)
	a.op("MOVQ dst+0(FP), DI")
	a.op("MOVQ src+8(FP), SI")
	a.op("MOVQ n+16(FP), BX")
	a.label("loop")
	a.op("VMOVUPS (SI), Y0")
	a.op("VSHUFPS $0x88, 32(SI), Y0, Y0")
	a.op("VPERMPD $0xd8, Y0, Y0")
	a.op("VMOVUPS Y0, (DI)")
	a.op("ADDQ $64, SI")
	a.op("ADDQ $32, DI")
	a.op("SUBQ $8, BX")
	a.op("JNZ loop")
	a.op("VZEROUPPER")
	a.op("RET")
	a.text(`func interleave2AVX2(dst, x, y *float32, n int)
for i := range n { dst[2*i], dst[2*i+1] = x[i], y[i] }; n is a positive multiple of 8`, "interleave2AVX2", 32)
	a.op("MOVQ dst+0(FP), DI")
	a.op("MOVQ x+8(FP), SI")
	a.op("MOVQ y+16(FP), DX")
	a.op("MOVQ n+24(FP), BX")
	a.label("loop")
	a.op("VMOVUPS (SI), Y0")
	a.op("VMOVUPS (DX), Y1")
	a.op("VUNPCKLPS Y1, Y0, Y2")
	a.op("VUNPCKHPS Y1, Y0, Y3")
	a.op("VPERM2F128 $0x20, Y3, Y2, Y4")
	a.op("VPERM2F128 $0x31, Y3, Y2, Y5")
	a.op("VMOVUPS Y4, (DI)")
	a.op("VMOVUPS Y5, 32(DI)")
	a.op("ADDQ $32, SI")
	a.op("ADDQ $32, DX")
	a.op("ADDQ $64, DI")
	a.op("SUBQ $8, BX")
	a.op("JNZ loop")
	a.op("VZEROUPPER")
	a.op("RET")
	transpose8(a, 1)
	transpose8(a, 2)
	transpose16(a, false)
	transpose16(a, true)
	transpose64(a)
	copyRows(a, false)
	copyRows(a, true)
	gatherRows(a, false)
	gatherRows(a, true)
	a.text(`func streamFence()
makes stores that went past the caches visible before those that follow it; some 0.1 µs`, "streamFence", 0)
	a.op("SFENCE")
	a.op("RET")
	return []file{a.file("vecmove_amd64.s")}
}

// strided are the addresses of four rows from base on; triple holds three strides.
func strided(base, stride, triple string) [4]string {
	return [4]string{"(" + base + ")", "(" + base + ")(" + stride + "*1)", "(" + base + ")(" + stride + "*2)", "(" + base + ")(" + triple + "*1)"}
}

// transpose8 transposes 8 rows of 32-bit elements, or twice as many, 8 columns at a time, with unpacks, shuffles and half swaps. Twice as many fill
// whole cache lines of dst.
func transpose8(a *asm, halves int) {
	name := fmt.Sprintf("transpose%dAVX2", 8*halves)
	a.text(fmt.Sprintf(`func %s(dst, src *byte, dstStride, srcStride, blocks int)
for i := range %d { for j := range 8*blocks { dst[j,i] = src[i,j] } } on 32-bit elements, strides in bytes; blocks >= 1`, name, 8*halves), name, 40)
	arguments(a, "dst DI", "src SI", "dstStride DX", "srcStride CX", "blocks BX")
	a.op("LEAQ (DX)(DX*2), R8")
	a.op("LEAQ (CX)(CX*2), R9")
	a.label("loop")
	a.op("LEAQ (SI)(CX*4), R10")
	a.op("LEAQ (DI)(DX*4), R11")
	for half := range halves {
		from := [2]string{"SI", "R10"}
		if half == 1 {
			a.op("LEAQ (SI)(CX*8), R12")
			a.op("LEAQ (R10)(CX*8), R10")
			from[0] = "R12"
		}
		for i := range 8 {
			a.op("VMOVUPS %s, Y%d", strided(from[i/4], "CX", "R9")[i%4], i)
		}
		for i := 0; i < 8; i += 2 {
			a.op("VUNPCKLPS Y%d, Y%d, Y%d", i+1, i, 8+i)
			a.op("VUNPCKHPS Y%d, Y%d, Y%d", i+1, i, 9+i)
		}
		// Y8..Y15 -> Y0..Y7: column pairs of four rows
		for h := range 2 {
			for k := range 2 {
				lo, hi := 8+4*h+k, 10+4*h+k
				a.op("VSHUFPS $0x44, Y%d, Y%d, Y%d", hi, lo, 4*h+2*k)
				a.op("VSHUFPS $0xee, Y%d, Y%d, Y%d", hi, lo, 4*h+2*k+1)
			}
		}
		at := ""
		if half == 1 {
			at = "32"
		}
		for c := range 4 {
			a.op("VPERM2F128 $0x20, Y%d, Y%d, Y8", 4+c, c)
			a.op("VPERM2F128 $0x31, Y%d, Y%d, Y9", 4+c, c)
			a.op("VMOVUPS Y8, %s%s", at, strided("DI", "DX", "R8")[c])
			a.op("VMOVUPS Y9, %s%s", at, strided("R11", "DX", "R8")[c])
		}
	}
	a.op("ADDQ $32, SI")
	a.op("LEAQ (DI)(DX*8), DI")
	a.op("DECQ BX")
	a.op("JNZ loop")
	end(a)
}

// transpose16 transposes 16 rows of 32-bit elements, 16 columns at a time: whole cache lines of src and of dst.
func transpose16(a *asm, stream bool) {
	name, store, more := "transpose16AVX512", "VMOVUPS", ""
	if stream {
		name, store = "transposeStreamAVX512", "VMOVNTPS"
		more = ";\nstores go past the caches, and streamFence orders them; dst and dstStride are multiples of 64"
	}
	a.text(fmt.Sprintf(`func %s(dst, src *byte, dstStride, srcStride, blocks int)
for i := range 16 { for j := range 16*blocks { dst[j,i] = src[i,j] } } on 32-bit elements, strides in bytes; blocks >= 1%s`, name, more), name, 40)
	arguments(a, "dst DI", "src SI", "dstStride DX", "srcStride CX", "blocks BX")
	a.op("LEAQ (DX)(DX*2), R8")
	a.op("LEAQ (CX)(CX*2), R9")
	a.label("loop")
	a.op("MOVQ SI, R10")
	square16(a, 0)
	for g := range 4 {
		for k, at := range strided("DI", "DX", "R8") {
			a.op("%s Z%d, %s", store, 4*g+k, at)
		}
		a.op("LEAQ (DI)(DX*4), DI")
	}
	a.op("ADDQ $64, SI")
	a.op("DECQ BX")
	a.op("JNZ loop")
	end(a)
}

// square16 loads 16 rows of 16 elements from R10 on, CX bytes apart, of which R9 is three times as many, and leaves their columns in Z0 to Z15. What
// lies ahead bytes behind each, if any, is prefetched to the second-level cache meanwhile. R10 ends behind the rows; AX is lost.
func square16(a *asm, ahead int) {
	if ahead > 0 {
		a.op("LEAQ %d(R10), AX", ahead)
	}
	for g := range 4 {
		soon := strided("AX", "CX", "R9")
		for k, at := range strided("R10", "CX", "R9") {
			a.op("VMOVUPS %s, Z%d", at, 4*g+k)
			if ahead > 0 {
				a.op("PREFETCHT1 %s", soon[k])
			}
		}
		a.op("LEAQ (R10)(CX*4), R10")
		if ahead > 0 {
			a.op("LEAQ (AX)(CX*4), AX")
		}
	}
	for i := 0; i < 16; i += 2 { // pairs of rows
		a.op("VUNPCKLPS Z%d, Z%d, Z%d", i+1, i, 16+i)
		a.op("VUNPCKHPS Z%d, Z%d, Z%d", i+1, i, 17+i)
	}
	for i := 0; i < 16; i += 4 { // lane l of Z(i+c): column 4l+c of rows i to i+3
		a.op("VUNPCKLPD Z%d, Z%d, Z%d", 18+i, 16+i, i)
		a.op("VUNPCKHPD Z%d, Z%d, Z%d", 18+i, 16+i, i+1)
		a.op("VUNPCKLPD Z%d, Z%d, Z%d", 19+i, 17+i, i+2)
		a.op("VUNPCKHPD Z%d, Z%d, Z%d", 19+i, 17+i, i+3)
	}
	lanes := func(lo, hi, even, odd int) { // the lanes 0 and 2 of both, and 1 and 3
		a.op("VSHUFF32X4 $0x88, Z%d, Z%d, Z%d", hi, lo, even)
		a.op("VSHUFF32X4 $0xdd, Z%d, Z%d, Z%d", hi, lo, odd)
	}
	for c := range 4 {
		lanes(c, 4+c, 16+c, 20+c)
		lanes(8+c, 12+c, 24+c, 28+c)
	}
	for c := range 4 {
		lanes(16+c, 24+c, c, 8+c)
		lanes(20+c, 28+c, 4+c, 12+c)
	}
}

// transpose64 transposes 64 rows of 32-bit elements, 16 columns at a time, so that 4 cache lines that follow each other in dst are written together:
// memory takes such stores twice as fast as single lines far apart. That many rows are more than the CPU prefetches by itself.
func transpose64(a *asm) {
	const ahead = 192 // 3 lines; 2 and 4 are as good
	a.text(`func transposeStream64AVX512(dst, src *byte, dstStride, srcStride, blocks int)
for i := range 64 { for j := range 16*blocks { dst[j,i] = src[i,j] } } on 32-bit elements, strides in bytes; blocks >= 1;
stores go past the caches, and streamFence orders them; dst and dstStride are multiples of 64`, "transposeStream64AVX512", 40)
	arguments(a, "dst DI", "src SI", "dstStride DX", "srcStride CX", "blocks BX")
	a.op("LEAQ (DX)(DX*2), R8")
	a.op("LEAQ (CX)(CX*2), R9")
	a.label("loop")
	a.op("MOVQ SI, R10")
	a.op("MOVQ DI, R13")
	a.op("MOVQ $4, R12")
	a.label("rows")
	square16(a, ahead)
	a.op("MOVQ R13, R11")
	for g := range 4 {
		for k, at := range strided("R11", "DX", "R8") {
			a.op("VMOVNTPS Z%d, %s", 4*g+k, at)
		}
		a.op("LEAQ (R11)(DX*4), R11")
	}
	a.op("ADDQ $64, R13")
	a.op("DECQ R12")
	a.op("JNZ rows")
	a.op("LEAQ -192(R11), DI")
	a.op("ADDQ $64, SI")
	a.op("DECQ BX")
	a.op("JNZ loop")
	end(a)
}

// arguments loads arguments of 8 bytes into registers, which follow their names.
func arguments(a *asm, list ...string) {
	for i, s := range list {
		var name, reg string
		fmt.Sscan(s, &name, &reg)
		a.op("MOVQ %s+%d(FP), %s", name, 8*i, reg)
	}
}

// copyLine copies 64 bytes from base(at) to (DI)(at), past the caches or through them.
func copyLine(a *asm, base, at string, stream bool) {
	store := "VMOVUPS"
	if stream {
		store = "VMOVNTPS"
	}
	for i := range 2 {
		a.op("VMOVUPS %d(%s)(%s*1), Y%d", 32*i, base, at, i)
	}
	for i := range 2 {
		a.op("%s Y%d, %d(DI)(%s*1)", store, i, 32*i, at)
	}
}

// copyLines copies BX bytes, at least 64, from base to DI, a line at a time; R9 is BX-64. Unless all is streamed, what is left over is the last line,
// which may have bytes in common with the one before. ahead is a row whose lines are prefetched meanwhile, "" for none.
func copyLines(a *asm, base, ahead string, stream bool) {
	a.op("XORQ AX, AX")
	a.label("line")
	if ahead != "" {
		a.op("PREFETCHT0 (%s)(AX*1)", ahead)
	}
	copyLine(a, base, "AX", stream)
	a.op("ADDQ $64, AX")
	a.op("CMPQ AX, R9")
	a.op("JLE line")
	if !stream {
		a.op("CMPQ AX, BX")
		a.op("JGE next")
		copyLine(a, base, "R9", false)
	}
	a.label("next")
}

// end ends a routine.
func end(a *asm) {
	a.op("VZEROUPPER")
	a.op("RET")
}

// copyRows copies rows of bytes with strides. Those of less than 64 bytes are two pieces of a power of two, which may have bytes in common.
func copyRows(a *asm, stream bool) {
	if stream {
		a.text(`func streamRowsAVX2(dst, src *byte, w, rows, dstStride, srcStride int)
for i := range rows { copy(dst[i*dstStride:][:w], src[i*srcStride:]) } with stores that go past the caches, and that streamFence orders; dst, w and
dstStride are multiples of 64, w and rows are positive`, "streamRowsAVX2", 48)
	} else {
		a.text(`func copyRowsAVX2(dst, src *byte, w, rows, dstStride, srcStride int)
for i := range rows { copy(dst[i*dstStride:][:w], src[i*srcStride:]) }; w is at least 4, rows is positive`, "copyRowsAVX2", 48)
	}
	arguments(a, "dst DI", "src SI", "w BX", "rows CX", "dstStride DX", "srcStride R8")
	a.op("LEAQ -64(BX), R9")
	if !stream {
		for _, w := range []int{8, 16, 32, 64} {
			a.op("CMPQ BX, $%d", w)
			a.op("JLT under%d", w)
		}
	}
	step := func(label string) {
		a.op("ADDQ DX, DI")
		a.op("ADDQ R8, SI")
		a.op("DECQ CX")
		a.op("JNZ %s", label)
	}
	a.label("row")
	copyLines(a, "SI", "", stream)
	step("row")
	end(a)
	if stream {
		return
	}
	for _, p := range []struct {
		w        int
		mov      string
		one, two string
	}{{64, "VMOVUPS", "Y0", "Y1"}, {32, "VMOVUPS", "X0", "X1"}, {16, "MOVQ", "R10", "R11"}, {8, "MOVL", "R10", "R11"}} {
		a.label(fmt.Sprintf("under%d", p.w))
		a.op("LEAQ -%d(BX), AX", p.w/2)
		a.label(fmt.Sprintf("row%d", p.w))
		a.op("%s (SI), %s", p.mov, p.one)
		a.op("%s (SI)(AX*1), %s", p.mov, p.two)
		a.op("%s %s, (DI)", p.mov, p.one)
		a.op("%s %s, (DI)(AX*1)", p.mov, p.two)
		step(fmt.Sprintf("row%d", p.w))
		end(a)
	}
}

// gatherRows copies rows of bytes by their numbers, and prefetches the next one meanwhile.
func gatherRows(a *asm, stream bool) {
	name, more := "gatherRowsAVX2", "w is at least 64, count is positive"
	if stream {
		name, more = "gatherStreamAVX2", "stores go past the caches, and streamFence orders them; dst and w are multiples of 64,\nw and count are positive"
	}
	a.text(fmt.Sprintf(`func %s(dst, src *byte, index *int, w, count int)
for i := range count { copy(dst[i*w:][:w], src[index[i]*w:]) }; %s`, name, more), name, 40)
	arguments(a, "dst DI", "src SI", "index R11", "w BX", "count CX")
	a.op("LEAQ -64(BX), R9")
	a.op("MOVQ (R11), R13")
	a.op("IMULQ BX, R13")
	a.op("ADDQ SI, R13")
	a.label("row")
	a.op("MOVQ R13, R12")
	a.op("CMPQ CX, $1")
	a.op("JEQ go")
	a.op("MOVQ 8(R11), R13")
	a.op("IMULQ BX, R13")
	a.op("ADDQ SI, R13")
	a.label("go")
	copyLines(a, "R12", "R13", stream)
	a.op("ADDQ BX, DI")
	a.op("ADDQ $8, R11")
	a.op("DECQ CX")
	a.op("JNZ row")
	end(a)
}
