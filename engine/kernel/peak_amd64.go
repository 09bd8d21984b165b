//go:build amd64 && !noasm

package kernel

func peakF32(isa ISA) (f func(n int), flops float64) {
	switch {
	case isa >= AVX512:
		return peakFMA512, 24 * 16 * 2
	case isa >= AVX2:
		return peakFMA256, 12 * 8 * 2
	}
	return nil, 0
}

func peakInt8(isa ISA) (f func(n int), ops float64) {
	if isa >= AVX512VNNI {
		return peakVNNI512, 24 * 64 * 2
	}
	return nil, 0
}

func peakRead(isa ISA) func(x []byte) {
	if isa < AVX2 {
		return nil
	}
	return func(x []byte) { peakRead256(&x[0], len(x)) }
}
