package main

import (
	"fmt"
	"strings"
)

// halfKind is the type of the elements of B in a float32 kernel.
type halfKind int

const (
	whole halfKind = iota // float32
	f16                   // IEEE binary16, a row of B is one k
	bf16                  // bfloat16, a row of B is two k: the elements of one column side by side, the even k in the low half
)

// perRow is the number of k in one row of B.
func (h halfKind) perRow() int {
	if h == bf16 {
		return 2
	}
	return 1
}

// bytes is what w bytes of float32 columns take in a row of B.
func (h halfKind) bytes(w int) int {
	if h == f16 {
		return w / 2
	}
	return w
}

// loadMask sets the register to the mask of the upper halves, where widen needs it.
func (h halfKind) loadMask(a *asm, reg string) {
	if h != bf16 {
		return
	}
	a.op("MOVL $0xffff0000, AX")
	a.op("VMOVD AX, X%s", reg[1:])
	a.op("VPBROADCASTD X%s, %s", reg[1:], reg)
}

// widen loads a vector of B as float32; of a pair of k the one of number u.
func (h halfKind) widen(a *asm, isa, from, mask, to string, u int) {
	switch {
	case h == f16:
		a.op("VCVTPH2PS %s, %s", from, to)
	case u%2 == 1:
		a.op("%s %s, %s, %s", map[string]string{"Z": "VPANDD", "Y": "VPAND"}[isa], from, mask, to)
	case isa == "Z":
		a.op("VPSLLD $16, %s, %s", from, to)
	default:
		a.op("VMOVDQU %s, %s", from, to)
		a.op("VPSLLD $16, %s, %s", to, to)
	}
}

// highMask is the register of the mask that bfloat16 needs.
func (t tile) highMask() string { return map[string]string{"Z": "Z31", "Y": "Y15"}[t.isa] }

// halfFiles writes the float32 micro-kernels that read B in half precision, for whole panels.
func halfFiles() []file {
	var stubs strings.Builder
	fmt.Fprintf(&stubs, goHead, "half.go")
	var out []file
	for _, isa := range []string{"Z", "Y"} {
		a := newAsm("half.go")
		bits := map[string]string{"Z": "512", "Y": "256"}[isa]
		for _, kind := range []halfKind{f16, bf16} {
			name := map[halfKind]string{f16: "F16", bf16: "BF16"}[kind]
			t := tile{aType: "float32", bType: "uint16", cType: "float32", load: "VMOVUPS", store: "VMOVUPS", bc: "VBROADCASTSS", fma: "VFMADD231PS",
				acc: true, doc: f32Doc + "\n// b is half precision.", isa: isa, nv: 2, unroll: 4, half: kind, prefetch: isa == "Z", name: "gemm" + name + "x" + bits + "m"}
			rows := map[string]int{"Z": 12, "Y": 6}[isa]
			for mr := 1; mr <= rows; mr++ {
				t.kernel(a, mr)
			}
			t.stub(&stubs, rows)
			v := vecTile{isa: isa, elem: "float32", bc: "VBROADCASTSS", load: "VMOVUPS", fma: "VFMADD231PS", acc: true, half: kind, name: "gemv" + name + "x" + bits + "m"}
			for mr := 1; mr <= v.maxRows(); mr++ {
				v.kernel(a, &stubs, mr)
			}
		}
		widenPairs(a, &stubs, isa, bits)
		for _, kind := range []halfKind{f16, bf16} {
			widenBlocks(a, &stubs, isa, bits, kind)
		}
		out = append(out, a.file(map[string]string{"Z": "half_avx512_amd64.s", "Y": "half_avx2_amd64.s"}[isa]))
	}
	return append(out, file{"half_stubs_amd64.go", []byte(stubs.String())})
}

// widenPairs writes the function that takes pairs of bfloat16 apart.
func widenPairs(a *asm, stubs *strings.Builder, isa, bits string) {
	name := "widenPairs" + bits
	decl := fmt.Sprintf("func %s(dst *float32, src *uint16, n, rows int)", name)
	fmt.Fprintf(stubs, "\n// %s writes for each of the rows of n pairs (n a multiple of 16) the n first and then the n second elements.\n//\n//go:noescape\n%s\n", name, decl)
	a.text(decl, name, 32)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "n+16(FP), R8", "rows+24(FP), DX"} {
		a.op("MOVQ %s", l)
	}
	mask := isa + "15"
	bf16.loadMask(a, mask)
	a.op("SHLQ $2, R8") // bytes of a row of dst
	a.label("row")
	a.op("MOVQ R8, CX")
	a.label("loop")
	w := map[string]int{"Z": 64, "Y": 32}[isa]
	for i := range 64 / w {
		off := ""
		if i > 0 {
			off = fmt.Sprint(i * w)
		}
		for u := range 2 {
			r := fmt.Sprintf("%s%d", isa, 2*i+u)
			bf16.widen(a, isa, off+"(SI)", mask, r, u)
			a.op("VMOVUPS %s, %s(DI)%s", r, off, []string{"", "(R8*1)"}[u])
		}
	}
	a.op("ADDQ $64, SI")
	a.op("ADDQ $64, DI")
	a.op("SUBQ $64, CX")
	a.op("JNE  loop")
	a.op("ADDQ R8, DI")
	a.op("DECQ DX")
	a.op("JNE  row")
	a.op("VZEROUPPER")
	a.op("RET")
}

// widenBlocks writes the function that widens weights of 16 channels side by side and multiplies them with a factor per channel.
func widenBlocks(a *asm, stubs *strings.Builder, isa, bits string, kind halfKind) {
	name := "widenBlocks" + map[halfKind]string{f16: "F16", bf16: "BF16"}[kind] + "x" + bits
	decl := fmt.Sprintf("func %s(dst *float32, src *uint16, scale *float32, n int)", name)
	fmt.Fprintf(stubs, "\n// %s writes n times 16 products of a widened element and the factor of its lane.\n//\n//go:noescape\n%s\n", name, decl)
	a.text(decl, name, 32)
	for _, l := range []string{"dst+0(FP), DI", "src+8(FP), SI", "scale+16(FP), R8", "n+24(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	w := map[string]int{"Z": 64, "Y": 32}[isa]
	vecs := 64 / w
	for v := range vecs {
		a.op("VMOVUPS %d(R8), %s%d", v*w, isa, 8+v)
	}
	a.label("loop")
	for v := range vecs {
		r := fmt.Sprintf("%s%d", isa, v)
		if kind == f16 {
			a.op("VCVTPH2PS %d(SI), %s", v*w/2, r)
		} else {
			a.op("VPMOVZXWD %d(SI), %s", v*w/2, r)
			a.op("VPSLLD $16, %s, %s", r, r)
		}
		a.op("VMULPS %s%d, %s, %s", isa, 8+v, r, r)
		a.op("VMOVUPS %s, %d(DI)", r, v*w)
	}
	a.op("ADDQ $32, SI")
	a.op("ADDQ $64, DI")
	a.op("DECQ CX")
	a.op("JNE  loop")
	a.op("VZEROUPPER")
	a.op("RET")
}
