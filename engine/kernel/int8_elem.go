package kernel

// Lookup sets dst[i] = t[src[i]]. dst may be src.
func Lookup(dst, src []uint8, t *[256]uint8) {
	if len(dst) != len(src) {
		panic(badLen)
	}
	n := lookup(dst, src, t)
	lookupGo(dst[n:], src[n:], t)
}

func lookupGo(dst, src []uint8, t *[256]uint8) {
	for i, v := range src {
		dst[i] = t[v]
	}
}
