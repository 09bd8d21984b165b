//go:build (!amd64 && !arm64) || noasm

package kernel

func lookup(dst, src []uint8, t *[256]uint8) int { return 0 }

func (f *AddU8) vectors(dst, a, b []uint8) int { return 0 }

func (f *MulU8) vectors(dst, a, b []uint8) int { return 0 }

func maxU8(dst, src []uint8) int { return 0 }

func sumRowsU8(acc []int32, x []uint8, rows, ld int) int { return 0 }

func widen(dst, src []uint8) int { return 0 }

func interleave3(dst, x, y, z []uint8) int { return 0 }
