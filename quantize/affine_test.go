package quantize_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/quantize"
)

// mix is the generator of testdata/quantize/gen.py: splitmix64 of seed * 2^32 + i.
func mix(seed uint64, n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		z := (seed<<32 + uint64(i) + 1) * 0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		out[i] = z ^ z>>31
	}
	return out
}

// unit returns 24 bits of z as a float32 in -1..1.
func unit(z uint64) float32 { return float32(z>>40)*0x1p-23 - 1 }

// generated returns the tensor of gen.py for a seed: one of eight families.
func generated(seed uint64, n int) []float32 {
	x := make([]float32, n)
	for i, z := range mix(seed, n) {
		u := unit(z)
		switch seed % 8 {
		case 0:
			x[i] = u
		case 1:
			x[i] = float32(u*37.5) + 11
		case 2:
			x[i] = float32(math.Abs(float64(u))) * 1e-3
		case 3:
			x[i] = u * float32(math.Ldexp(1, int(z&127)%121-60))
		case 4:
			x[i] = float32(int(z&1023)-512) * 0.5
		case 5:
			x[i] = u * 0x1p-130
		case 6:
			if z&7 == 0 {
				x[i] = u * 4
			}
		default:
			x[i] = unit(mix(seed, 1)[0]) * 3
		}
	}
	return x
}

func crc(parts ...any) string {
	var b bytes.Buffer
	for _, p := range parts {
		if err := binary.Write(&b, binary.LittleEndian, p); err != nil {
			panic(err)
		}
	}
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(b.Bytes()))
}

func fixture(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile("../testdata/quantize/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func extremes(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

// there and back quantizes x and dequantizes the result.
func thereAndBack[T quantize.Quantized](x []float32, p quantize.Params, r quantize.Range) (q []T, back []float32) {
	q, back = make([]T, len(x)), make([]float32, len(x))
	quantize.Quantize(q, x, p, r)
	quantize.Dequantize(back, q, p)
	return q, back
}

// TestAffineAsRuntime compares 1,200 tensors with the bits of ONNX Runtime's QuantizeLinear, DequantizeLinear and
// DynamicQuantizeLinear.
func TestAffineAsRuntime(t *testing.T) {
	lines := fixture(t, "affine.tsv")
	if len(lines) < 1000 {
		t.Fatalf("%d cases, want 1000", len(lines))
	}
	for _, line := range lines {
		var seed uint64
		var n int
		var dtype, quantized, back, dynamic string
		if _, err := fmt.Sscan(line, &seed, &n, &dtype, &quantized, &back, &dynamic); err != nil {
			t.Fatal(err)
		}
		x := generated(seed, n)
		r := mix(seed+200000, 2)
		p := quantize.Params{Scale: (float32(math.Abs(float64(unit(r[0])))) + 0x1p-10) * 0.1}
		if seed%8 == 4 {
			p.Scale = 0.5
		}
		span := ranges[dtype]
		p.ZeroPoint = span.Min + int32(r[1]%uint64(span.Max-span.Min+1))
		var q, b any
		switch dtype {
		case "int8":
			q, b = thereAndBack[int8](x, p, span)
		case "uint8":
			q, b = thereAndBack[uint8](x, p, span)
		case "int16":
			q, b = thereAndBack[int16](x, p, span)
		case "uint16":
			q, b = thereAndBack[uint16](x, p, span)
		}
		if crc(q) != quantized {
			t.Errorf("seed %d: QuantizeLinear to %s with %+v differs: got %v", seed, dtype, p, q)
		}
		if crc(b) != back {
			t.Errorf("seed %d: DequantizeLinear of %s with %+v differs: got %v", seed, dtype, p, b)
		}
		dp := quantize.DynamicParams(extremes(x))
		dq, _ := thereAndBack[uint8](x, dp, quantize.Uint8Range)
		if crc(dq, dp.Scale, uint8(dp.ZeroPoint)) != dynamic {
			t.Errorf("seed %d: DynamicQuantizeLinear differs: got %+v, %v", seed, dp, dq)
		}
	}
}

var ranges = map[string]quantize.Range{"int8": quantize.Int8Range, "uint8": quantize.Uint8Range, "int4": quantize.Int4Range, "uint4": quantize.Uint4Range,
	"int16": quantize.Int16Range, "uint16": quantize.Uint16Range}

// TestParamsAsQuantizer compares 4,000 ranges for every type with the bits of onnxruntime.quantization.
func TestParamsAsQuantizer(t *testing.T) {
	for _, line := range fixture(t, "params.tsv") {
		var dtype, symmetry, scales, zeros string
		if _, err := fmt.Sscan(line, &dtype, &symmetry, &scales, &zeros); err != nil {
			t.Fatal(err)
		}
		s, z := make([]float32, 4000), make([]int32, 4000)
		for i := range s {
			lo, hi := extremes(generated(uint64(i)+5000, 2))
			p, err := quantize.ChooseParams(lo, hi, ranges[dtype], symmetry == "symmetric")
			if err != nil {
				t.Fatal(err)
			}
			s[i], z[i] = p.Scale, p.ZeroPoint
		}
		if crc(s) != scales {
			t.Errorf("%s %s: scales differ: %v ...", dtype, symmetry, s[:24])
		}
		if crc(z) != zeros {
			t.Errorf("%s %s: zero points differ: %v ...", dtype, symmetry, z[:24])
		}
	}
}

// TestAffineByHand has the values of the ONNX documentation and the corners that it leaves open.
func TestAffineByHand(t *testing.T) {
	inf := float32(math.Inf(1))
	q, _ := thereAndBack[uint8]([]float32{1, 2, 3}, quantize.DynamicParams(1, 3), quantize.Uint8Range)
	if want := []uint8{85, 170, 255}; !bytes.Equal(q, want) {
		t.Errorf("DynamicQuantizeLinear of 1, 2, 3: got %v, want %v", q, want)
	}
	if p := quantize.DynamicParams(0, 0); p != (quantize.Params{Scale: 1}) {
		t.Errorf("range 0: got %+v", p)
	}
	for name, r := range ranges {
		for _, symmetric := range []bool{false, true} {
			for _, v := range [][2]float32{{0, 0}, {0, 0x1p-130}, {-0x1p-149, 0}} { // no range, or one below the normal numbers
				p, err := quantize.ChooseParams(v[0], v[1], r, symmetric)
				if err != nil || p != (quantize.Params{Scale: 1}) {
					t.Errorf("%s %v: got %+v, %v", name, v, p, err)
				}
			}
			for _, v := range [][2]float32{{0, inf}, {-inf, 0}, {float32(math.NaN()), 1}, {0, float32(math.NaN())}, {2, 1}} {
				if p, err := quantize.ChooseParams(v[0], v[1], r, symmetric); err == nil {
					t.Errorf("%s %v: got %+v, want an error", name, v, p)
				}
			}
			// the whole of float32: its span is no float32
			if p, err := quantize.ChooseParams(-math.MaxFloat32, math.MaxFloat32, r, symmetric); err != nil || !(p.Scale > 0) || p.Scale > math.MaxFloat32/7 {
				t.Errorf("%s: whole range: got %+v, %v", name, p, err)
			}
		}
	}
	i8, _ := thereAndBack[int8]([]float32{inf, -inf, float32(math.NaN()), math.MaxFloat32, 0.5, 1.5, -0.5},
		quantize.Params{Scale: 1, ZeroPoint: 3}, quantize.Int8Range)
	if want := []int8{127, -128, -128, 127, 3, 5, 3}; crc(i8) != crc(want) {
		t.Errorf("corners: got %v, want %v", i8, want)
	}
}
