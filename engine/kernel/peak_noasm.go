//go:build !amd64 || noasm

package kernel

func peakF32(ISA) (f func(n int), flops float64) { return nil, 0 }

func peakInt8(ISA) (f func(n int), ops float64) { return nil, 0 }

func peakBF16(ISA) (f func(n int), flops float64) { return nil, 0 }

func peakRead(ISA) func(x []byte) { return nil }
