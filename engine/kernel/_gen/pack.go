package main

// packFiles writes the transposition of 8-row strips and the copy of panels.
func packFiles() []file {
	a := newAsm("pack.go")
	decl := "func transpose8(dst *float32, ldd int, src *float32, lds int, n int)"
	a.text(decl+"\n8 rows of src, n groups of 8 columns, become 8*n rows of 8 columns of dst. Strides are in bytes.", "transpose8", 40)
	for _, l := range []string{"dst+0(FP), DI", "ldd+8(FP), R8", "src+16(FP), SI", "lds+24(FP), R9", "n+32(FP), DX"} {
		a.op("MOVQ %s", l)
	}
	a.op("LEAQ (R8)(R8*2), R10")
	a.op("LEAQ (R9)(R9*2), R11")
	a.label("loop")
	a.op("LEAQ (SI)(R9*4), BX")
	rows := []string{"(SI)", "(SI)(R9*1)", "(SI)(R9*2)", "(SI)(R11*1)", "(BX)", "(BX)(R9*1)", "(BX)(R9*2)", "(BX)(R11*1)"}
	// Rows r and r+4 are joined while loading, so that only shuffles within 128-bit lanes are left.
	for half := range 2 {
		for r := range 4 {
			at := func(i int) string {
				if half == 1 {
					return "16" + rows[i]
				}
				return rows[i]
			}
			a.op("VMOVUPS %s, X%d", at(r), r)
			a.op("VINSERTF128 $1, %s, Y%d, Y%d", at(r+4), r, r)
		}
		a.op("VUNPCKLPS Y1, Y0, Y4") // 0a 1a 0b 1b
		a.op("VUNPCKHPS Y1, Y0, Y5") // 0c 1c 0d 1d
		a.op("VUNPCKLPS Y3, Y2, Y6")
		a.op("VUNPCKHPS Y3, Y2, Y7")
		a.op("VUNPCKLPD Y6, Y4, Y0")
		a.op("VUNPCKHPD Y6, Y4, Y1")
		a.op("VUNPCKLPD Y7, Y5, Y2")
		a.op("VUNPCKHPD Y7, Y5, Y3")
		a.op("VMOVUPS Y0, (DI)")
		a.op("VMOVUPS Y1, (DI)(R8*1)")
		a.op("VMOVUPS Y2, (DI)(R8*2)")
		a.op("VMOVUPS Y3, (DI)(R10*1)")
		a.op("LEAQ (DI)(R8*4), DI")
	}
	a.op("ADDQ $32, SI")
	a.op("DECQ DX")
	a.op("JNE  loop")
	a.op("VZEROUPPER")
	a.op("RET")

	a.text("func packRows32(dst *float32, src *float32, lds int, k int)\nk rows of 32 columns of src become consecutive. lds is in bytes.", "packRows32", 32)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "lds+16(FP), R8", "k+24(FP), DX"} {
		a.op("MOVQ %s", l)
	}
	a.label("loop")
	for i := range 4 {
		a.op("VMOVUPS %d(SI), Y%d", 32*i, i)
	}
	for i := range 4 {
		a.op("VMOVUPS Y%d, %d(DI)", i, 32*i)
	}
	a.op("ADDQ R8, SI")
	a.op("ADDQ $128, DI")
	a.op("DECQ DX")
	a.op("JNE  loop")
	a.op("VZEROUPPER")
	a.op("RET")
	return []file{a.file("gemm_pack_amd64.s")}
}
