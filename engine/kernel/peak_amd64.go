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
	switch {
	case isa >= AMX:
		return tilesPeak(peakTilesInt8), 4 * 16 * 16 * 64 * 2
	case isa >= AVX512VNNI:
		return peakVNNI512, 24 * 64 * 2
	case isa == AVXVNNI:
		return peakVNNI256, 12 * 32 * 2
	}
	return nil, 0
}

func peakBF16(isa ISA) (f func(n int), flops float64) {
	switch {
	case isa >= AMX:
		return tilesPeak(peakTilesBF16), 4 * 16 * 16 * 32 * 2
	case isa >= AVX512BF16:
		return peakDotBF16, 24 * 32 * 2
	}
	return nil, 0
}

// tilesPeak runs f on full tiles, a fraction of a millisecond at a time: nothing can interrupt assembly.
func tilesPeak(f func(n int, config *tileShapes)) func(n int) {
	return func(n int) {
		var shapes tileShapes
		shapes.set(32, 32, 64)
		for ; n > 0; n -= 4096 {
			f(min(n, 4096), &shapes)
		}
	}
}

// peakRead returns what reads with the widest loads: on Emerald Rapids loads of 32 bytes take 1.2 times as long as those of 64 where the bytes come from memory.
func peakRead(isa ISA) func(x []byte) {
	switch {
	case isa >= AVX512:
		return func(x []byte) { peakRead512(&x[0], len(x)) }
	case isa >= AVX2:
		return func(x []byte) { peakRead256(&x[0], len(x)) }
	}
	return nil
}
