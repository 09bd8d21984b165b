package kernel

import "math"

// forkPieces is the number of elements of A from which on the digits of fewer rows than threads are made by all threads.
func (g *nbitsJob) forkPieces() int {
	if g.isa.hasVNNI512() { // which make those of 4096 elements in a microsecond
		return 32 << 10
	}
	return 2048
}

// forkDigits is the number of elements of A from which on the digits of rows are made in parallel: some 30 us of one core.
const forkDigits = 32 << 10

// doPiece makes the digits of one of the pieces of a row, whole blocks, and notes the largest magnitude; infinity if digits cannot hold it.
func (g *nbitsJob) doPiece(n int) {
	i, kb := n/g.pieces, g.b.blocks()
	t0, t1 := n%g.pieces*kb/g.pieces, (n%g.pieces+1)*kb/g.pieces
	g.most[n] = 0
	for t := t0; t < t1; {
		done, top := g.digitBlocks(i, t, t1)
		if done == 0 {
			done, top = 1, g.digitsOf(i, t)
		}
		t += done
		if g.most[n] = max(g.most[n], top); math.IsInf(float64(top), 1) {
			return
		}
	}
	g.widenDigits(i, t0, t1)
}

// digitsOf makes the digits of block t of row i and returns its largest magnitude, or infinity from 2^100 on and where there is a NaN.
func (g *nbitsJob) digitsOf(i, t int) (top float32) {
	bl := g.b.Block
	block := g.a[i*g.lda:][:g.b.K][t*bl : min(g.b.K, (t+1)*bl)]
	if top = absMax(g.isa, block); !(top < 1<<100) {
		return float32(math.Inf(1))
	}
	factor, scale := digitScale(top, g.parts)
	var sums [3]int32
	size := g.digitBytes()
	d := g.digits[(i*g.kPad()+t*bl)*size:][:bl*size]
	n := len(block) &^ 15
	splitDigits(g.isa, block[:n], factor, d, g.parts, &sums)
	if n < bl {
		clear(d[n*size:])
		splitDigitsGo(block[n:], factor, d[n*size:], g.parts, &sums)
	}
	e := &g.terms[i*g.b.blocks()+t]
	*e = nbitsTerms{scale: scale, centre: int32(g.b.centre)}
	total := int64(0)
	shift := 8
	if g.parts == 2 {
		shift = 7
	}
	for p := g.parts - 1; p >= 0; p-- {
		total = total<<shift + int64(sums[p])
		e.start[p] = -int32(g.b.centre) * sums[p]
	}
	e.sum = float32(float64(scale) * float64(total))
	return top
}

// digitScale returns the factor that turns a block with the given largest magnitude into integers, and its inverse.
func digitScale(top float32, parts int) (factor, scale float32) {
	if top == 0 || parts == 1 && top < 0x1p-120 { // beside a block above 2^-80; 127/top may be infinite
		return 0, 0
	}
	if parts == 1 {
		return 127 / top, top / 127
	}
	e := int(math.Float32bits(top)>>23) - 126 // top < 2^e
	if e == -126 {
		_, e = math.Frexp(float64(top)) // below the normal range
	}
	bits, most := 23, float32(maxDigits)
	if parts == 2 {
		bits, most = 22, maxTwo
	}
	e = min(bits-e, 100)
	if top*powerOfTwo(e) >= most+0.5 {
		e--
	}
	return powerOfTwo(e), powerOfTwo(-e)
}

// powerOfTwo returns 2^e for e of -126 to 127.
func powerOfTwo(e int) float32 { return math.Float32frombits(uint32(e+127) << 23) }

const (
	// maxDigits is the largest integer of three digits of -128 to 127.
	maxDigits = 127<<16 + 127<<8 + 127
	// maxTwo is that of one digit of -64 to 63 and one of -32767 to 32767.
	maxTwo = 32767<<7 + 63
)

// absMaxGo is the Go twin of absMax.
func absMaxGo(x []float32) float32 {
	var top uint32
	for _, v := range x {
		top = max(top, math.Float32bits(v)&0x7fffffff)
	}
	return math.Float32frombits(top)
}

// splitDigitsGo is the Go twin of splitDigits: x times factor in digits, the lowest first, and the sum of each digit.
func splitDigitsGo(x []float32, factor float32, q []int8, parts int, sums *[3]int32) {
	if parts == 2 {
		splitTwoGo(x, factor, q, sums)
		return
	}
	for k, v := range x {
		n := int32(math.RoundToEven(float64(v * factor)))
		for p := range parts {
			d := int8(n)
			if p == parts-1 {
				d = int8(min(n, 127))
			}
			q[k/4*4*parts+4*p+k%4] = d
			sums[p] += int32(d)
			n = (n - int32(d)) >> 8
		}
	}
}

// splitTwoGo is splitDigitsGo for a low digit of 7 bits and a high one of 16. Four elements take twelve bytes: the high digits of 0, 2, 1 and 3 and
// then the low ones.
func splitTwoGo(x []float32, factor float32, q []int8, sums *[3]int32) {
	for k, v := range x {
		n := int32(math.RoundToEven(float64(v * factor)))
		lo := (n+64)&127 - 64
		hi := (n - lo) >> 7
		at := k/4*12 + k%2*4 + k%4/2*2
		q[at], q[at+1], q[k/4*12+8+k%4] = int8(hi), int8(hi>>8), int8(lo)
		sums[0], sums[1] = sums[0]+lo, sums[1]+hi
	}
}

// twoDigits returns the digits of element k.
func twoDigits(q []int8, k int) (lo, hi int32) {
	at := k/4*12 + k%2*4 + k%4/2*2
	return int32(q[k/4*12+8+k%4]), int32(q[at+1])<<8 | int32(uint8(q[at]))
}

// digitBytes is the number of bytes of the digits of an element.
func (g *nbitsJob) digitBytes() int {
	if g.parts == 1 {
		return 1
	}
	return 3
}

// wideDigits tells whether the kernels want the digits in two bytes each too.
func (g *nbitsJob) wideDigits() bool { return g.oneRow() && g.b.bits == 8 && g.parts != 2 }
