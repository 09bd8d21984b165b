package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Instructions that the Go assembler has no mnemonic for, encoded by hand: AMX tiles, VPDPBUSD with a VEX prefix (AVX-VNNI), the
// bfloat16 instructions of AVX-512 and PREFETCHW. Each one is written as BYTE with its text in Intel's syntax (destination first) as a comment, which
// is what objdump prints; testdata/encodings.txt holds a disassembler's answer for every one that is in use, and a test compares.
// Formats: Intel SDM volume 2, 2.3 (VEX), 2.7 (EVEX) and the pages of the instructions.

// inst is one encoded instruction.
type inst struct {
	text string
	code []byte
}

// inst writes one instruction that inst holds, commented.
func (a *asm) inst(in inst) {
	parts := make([]string, len(in.code))
	for i, c := range in.code {
		parts[i] = fmt.Sprintf("BYTE $0x%02x", c)
	}
	a.op("%s // %s", strings.Join(parts, "; "), in.text)
}

// regNames are the general registers by their Go names, in the order of their numbers.
var regNames = []string{"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}

func gpr(name string) int {
	if i := slices.Index(regNames, name); i >= 0 {
		return i
	}
	panic("no register " + name)
}

// rm is the operand that ModRM.rm selects: a register by its number, or memory.
type rm interface{ isRM() }

// regNum is a vector register as an operand.
type regNum int

// mem is base + index*scale + disp; index "" for none. Registers have their Go names.
type mem struct {
	base, index string
	scale       int
	disp        int
}

func (regNum) isRM() {}
func (mem) isRM()    {}

func (m mem) String() string {
	intel := func(r string) string {
		if r[0] != 'R' {
			return "r" + strings.ToLower(r)
		}
		return strings.ToLower(r)
	}
	s := intel(m.base)
	if m.index != "" {
		s += fmt.Sprintf("+%s*%d", intel(m.index), m.scale)
	}
	if m.disp != 0 || gpr(m.base)&7 == 5 {
		s += fmt.Sprintf("%+#x", m.disp)
	}
	return "[" + s + "]"
}

// modrm returns ModRM, SIB and displacement, and the bits that extend the base (or register) and the index. A displacement is held in
// one byte if it is a multiple of n that fits (n = 1 but for EVEX).
func modrm(reg int, x rm, n int) (code []byte, b, idx int) {
	switch x := x.(type) {
	case regNum:
		return []byte{byte(0xc0 | reg&7<<3 | int(x)&7)}, int(x) >> 3 & 1, int(x) >> 4
	case mem:
		base := gpr(x.base)
		mod, disp := 0, []byte(nil)
		switch d := x.disp; {
		case d == 0 && base&7 != 5:
		case d%n == 0 && d/n >= -128 && d/n <= 127:
			mod, disp = 1, []byte{byte(d / n)}
		default:
			mod, disp = 2, []byte{byte(d), byte(d >> 8), byte(d >> 16), byte(d >> 24)}
		}
		if x.index == "" && base&7 != 4 {
			return append([]byte{byte(mod<<6 | reg&7<<3 | base&7)}, disp...), base >> 3, 0
		}
		index, scale := 4, 0 // 4: none
		if x.index != "" {
			index, scale = gpr(x.index), slices.Index([]int{1, 2, 4, 8}, x.scale)
		}
		if scale < 0 || x.index == "SP" {
			panic("no such address: " + x.String())
		}
		code = []byte{byte(mod<<6 | reg&7<<3 | 4), byte(scale<<6 | index&7<<3 | base&7)}
		return append(code, disp...), base >> 3, index >> 3
	}
	panic("no operand")
}

// The prefixes that VEX and EVEX hold in two bits.
const (
	ppNone = iota
	pp66
	ppF3
	ppF2
)

// vex encodes an instruction of the opcode map 0F38 with W = 0; l is 0 for 128 bits, 1 for 256.
func vex(pp, l int, op byte, reg, vvvv int, x rm) []byte {
	tail, b, idx := modrm(reg, x, 1)
	p0 := (^reg>>3&1)<<7 | (^idx&1)<<6 | (^b&1)<<5 | 2
	p1 := (^vvvv&15)<<3 | l<<2 | pp
	return append([]byte{0xc4, byte(p0), byte(p1), op}, tail...)
}

// evex is vex with 32 registers, without a mask; l is 0, 1 or 2 for 128, 256 or 512 bits. n is the size of a memory operand and
// bcst makes it one element for all lanes.
func evex(pp, l int, op byte, reg, vvvv int, x rm, n int, bcst bool) []byte {
	tail, b, idx := modrm(reg, x, n)
	p0 := (^reg>>3&1)<<7 | (^idx&1)<<6 | (^b&1)<<5 | (^reg>>4&1)<<4 | 2
	p1 := (^vvvv&15)<<3 | 4 | pp
	p2 := l<<5 | (^vvvv>>4&1)<<3
	if bcst {
		p2 |= 1 << 4
	}
	return append([]byte{0x62, byte(p0), byte(p1), byte(p2), op}, tail...)
}

// vecLen returns the length field and the size in bytes of the registers X, Y or Z.
func vecLen(isa string) (l, bytes int) {
	l = strings.Index("XYZ", isa)
	if l < 0 || len(isa) != 1 {
		panic("no registers " + isa)
	}
	return l, 16 << l
}

// vecText is the operand x of the given size in Intel's syntax.
func vecText(isa string, x rm, bcst bool) string {
	if r, ok := x.(regNum); ok {
		return fmt.Sprintf("%smm%d", strings.ToLower(isa), int(r))
	}
	if bcst {
		return fmt.Sprintf("DWORD BCST %v", x)
	}
	return fmt.Sprintf("%sMMWORD PTR %v", isa, x)
}

// tileConfig loads the shapes of the tiles from 64 bytes (LDTILECFG).
func tileConfig(m mem) inst {
	return inst{fmt.Sprintf("ldtilecfg %v", m), vex(ppNone, 0, 0x49, 0, 0, m)}
}

// tileRelease gives all tile state back (TILERELEASE).
func tileRelease() inst { return inst{"tilerelease", vex(ppNone, 0, 0x49, 0, 0, regNum(0))} }

// tileZero clears tile t (TILEZERO).
func tileZero(t int) inst {
	return inst{fmt.Sprintf("tilezero tmm%d", t), vex(ppF2, 0, 0x49, t, 0, regNum(0))}
}

// tileLoad loads tile t, its rows m.index*m.scale bytes apart from m.base on (TILELOADD).
func tileLoad(t int, m mem) inst {
	return inst{fmt.Sprintf("tileloadd tmm%d,%v", t, tileMem(m)), vex(ppF2, 0, 0x4b, t, 0, m)}
}

// tileStore is the reverse of tileLoad (TILESTORED).
func tileStore(m mem, t int) inst {
	return inst{fmt.Sprintf("tilestored %v,tmm%d", tileMem(m), t), vex(ppF3, 0, 0x4b, t, 0, m)}
}

func tileMem(m mem) mem {
	if m.index == "" {
		panic("a tile needs the distance of its rows as the index")
	}
	return m
}

// tileDotU8S8 is c += a*b for unsigned bytes a (rows of fours of k) and signed bytes b (rows of fours of k per column), in int32 (TDPBUSD).
func tileDotU8S8(c, a, b int) inst {
	distinctTiles(c, a, b)
	return inst{fmt.Sprintf("tdpbusd tmm%d,tmm%d,tmm%d", c, a, b), vex(pp66, 0, 0x5e, c, b, regNum(a))}
}

// tileDotBF16 is c += a*b for pairs of bfloat16, in float32 (TDPBF16PS).
func tileDotBF16(c, a, b int) inst {
	distinctTiles(c, a, b)
	return inst{fmt.Sprintf("tdpbf16ps tmm%d,tmm%d,tmm%d", c, a, b), vex(ppF3, 0, 0x5c, c, b, regNum(a))}
}

func distinctTiles(c, a, b int) {
	if c == a || c == b || a == b {
		panic("the tiles of a product must differ")
	}
}

// dotU8S8VEX is VPDPBUSD of AVX-VNNI: per lane dst += the four products of the unsigned bytes u and the signed bytes s. isa is X or Y,
// registers are 0 to 15.
func dotU8S8VEX(isa string, dst, u int, s rm) inst {
	l, _ := vecLen(isa)
	if r, ok := s.(regNum); l > 1 || dst > 15 || u > 15 || ok && r > 15 {
		panic("VPDPBUSD with a VEX prefix: no such register")
	}
	text := fmt.Sprintf("{vex} vpdpbusd %s,%s,%s", vecText(isa, regNum(dst), false), vecText(isa, regNum(u), false), vecText(isa, s, false))
	return inst{text, vex(pp66, l, 0x50, dst, u, s)}
}

// dotBF16 is VDPBF16PS: per lane dst += the two products of pairs of bfloat16 a and b, in float32. A b in memory may be one pair for all lanes.
func dotBF16(isa string, dst, a int, b rm, bcst bool) inst {
	l, n := vecLen(isa)
	if bcst {
		n = 4
	}
	text := fmt.Sprintf("vdpbf16ps %s,%s,%s", vecText(isa, regNum(dst), false), vecText(isa, regNum(a), false), vecText(isa, b, bcst))
	return inst{text, evex(ppF3, l, 0x52, dst, a, b, n, bcst)}
}

// cvtTwoBF16 is VCVTNE2PS2BF16: dst holds the roundings of lo in its lower half and those of hi in its upper half.
func cvtTwoBF16(isa string, dst, hi int, lo rm) inst {
	l, n := vecLen(isa)
	text := fmt.Sprintf("vcvtne2ps2bf16 %s,%s,%s", vecText(isa, regNum(dst), false), vecText(isa, regNum(hi), false), vecText(isa, lo, false))
	return inst{text, evex(ppF2, l, 0x72, dst, hi, lo, n, false)}
}

// cvtBF16 is VCVTNEPS2BF16: dst, half as wide as isa says, holds the roundings of x. isa is Y or Z.
func cvtBF16(isa string, dst int, x rm) inst {
	l, n := vecLen(isa)
	half := map[string]string{"Y": "X", "Z": "Y"}[isa]
	text := fmt.Sprintf("vcvtneps2bf16 %s,%s", vecText(half, regNum(dst), false), vecText(isa, x, false))
	return inst{text, evex(ppF3, l, 0x72, dst, 0, x, n, false)}
}

// prefetchW asks for the cache line of x in order to write it (AMD and Intel: PREFETCHW, 0F 0D /1).
func prefetchW(x mem) inst {
	tail, b, idx := modrm(1, x, 1)
	code := []byte{0x0f, 0x0d}
	if b|idx != 0 {
		code = []byte{byte(0x40 | idx<<1 | b), 0x0f, 0x0d}
	}
	return inst{"prefetchw BYTE PTR " + x.String(), append(code, tail...)}
}

// vecNum is the number of a vector register by its Go name.
func vecNum(reg string) int {
	n, err := strconv.Atoi(reg[1:])
	if err != nil || !strings.Contains("XYZ", reg[:1]) {
		panic("no vector register " + reg)
	}
	return n
}
