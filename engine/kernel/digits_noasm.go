//go:build !amd64 || noasm

package kernel

func gemvDigits(a []float32, b *PackedDigits, c []float32) { gemvDigitsGo(a, b, c) }
