package main

import "strings"

// The kernels below are those of nbits256stream.go for CPUs that do best when left to themselves, Zen 4 among them: little is fetched ahead, since the
// requests of a program take the places of those of the CPU's own prefetcher, and the loops over bytes are short.

// far is how far ahead every sixth line (of 4 bits every tenth) is fetched to the second level of cache: what the prefetcher of the CPU, which starts anew on
// every page, then finds under way. Weights in memory take 5 % less so, and those in the third level no longer. Every line, or lines
// fetched to the first level, take a quarter more (Zen 4; nbWide has what Intel wants).
const far = 13824

// nudge writes that for n bytes from register at on.
func nudge(a *asm, at string, n int) {
	for i := 0; i < n-192; i += 384 {
		a.op("PREFETCHT1 %d(%s)", far+i, at)
	}
}

// nbShort writes nbits4p1b32n256, nbits8p1n256 and nbits8p2n256. Three digits of weights of 4 bits wait for no
// memory.
func nbShort(a *asm, stubs *strings.Builder) {
	const how = ", for CPUs that read ahead"
	nbStream(a, stubs, "nbits4p1b32n256", "1 digit with panels of weights of 4 bits in blocks of 32"+how, func() { nbClear(a) }, func() {
		a.op("PREFETCHT1 %d(DI)", far)
		nbFour1(a, 0)
	}, func() { nbStore(a) })
	nbStream(a, stubs, "nbits8p1n256", "1 digit, folded by foldBytes256, with panels of weights of 8 bits"+how, func() { nbClear(a) }, func() { nbEightShort(a) }, func() { nbStore(a) })
	nbStream(a, stubs, "nbits8p2n256", "digits of 7 and 16 bits with panels of weights of 8 bits, in blocks of up to 256"+how, func() {
		a.op("VPCMPEQB Y15, Y15, Y15")
		a.op("VPSRLW $8, Y15, Y15")
		nbZero(a)
	}, func() { nbTwoShort(a) }, func() {})
}

// nbLoop writes a loop of CX turns.
func nbLoop(a *asm, label string, body func()) {
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label(label)
	body()
	a.op("DECQ CX")
	a.op("JNE  %s", label)
}

// nbEightShort is nbEight.
func nbEightShort(a *asm) {
	nudge(a, "DI", 1152)
	for v := range 4 {
		a.op("VPBROADCASTD 4(R11), Y%d", v)
	}
	a.op("MOVQ 8(DX), CX")
	a.op("ADDQ CX, CX")
	nbLoop(a, "group", func() {
		foldGroup(a, 0, 0)
		a.op("ADDQ $128, DI")
		a.op("ADDQ $8, SI")
	})
	nbScaled(a, 0, false)
}

// nbTwoShort is the block of nbTwo.
func nbTwoShort(a *asm) {
	nudge(a, "DI", 1152)
	for v := range 4 {
		a.op("VPBROADCASTD 4(R11), Y%d", v)
		a.op("VPBROADCASTD (R11), Y%d", 4+v)
	}
	a.op("MOVQ 8(DX), CX")
	a.op("ADDQ CX, CX")
	nbLoop(a, "group", func() {
		nbTwoGroup(a, 0, 0)
		a.op("SUBQ $-128, DI")
		a.op("ADDQ $12, SI")
	})
	nbTwoScaled(a)
	a.op("TESTQ AX, AX")
	a.op("JEQ  even")
}
