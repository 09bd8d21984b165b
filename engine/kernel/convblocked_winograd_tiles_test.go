package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWinogradTiles compares both transforms of every instruction set with their Go twins, bit for bit: runs of one tile and more, elements and rows
// farther apart than they are long, and what lies between those of the result, which stays as it is. 11,000
// runs for each transform, and TestWinograd has 9,300 convolutions with tiles of each size.
func TestWinogradTiles(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 34))
	var tmp [36 * ChannelBlock]float32
	draw := drawer(r)
	for i := range cases(22000) {
		m := 2 + i%2*2
		j := &winoJob{w: &Winograd{m: m, t: m + 2}, lim: [2]float32{-1 + r.Float32(), r.Float32()}}
		edge, n := j.w.t, 1
		if r.IntN(8) == 0 {
			n += 1 + r.IntN(3)
		}
		apart := n*ChannelBlock + r.IntN(20)              // of the elements of a tile
		inRow := ((n-1)*m+edge)*ChannelBlock + r.IntN(20) // of rows of the image
		outRow := n*m*ChannelBlock + r.IntN(20)           // of rows of the result
		image, tiles := draw((edge-1)*inRow+((n-1)*m+edge)*ChannelBlock), draw((edge*edge-1)*apart+n*ChannelBlock)
		out, bias := draw((m-1)*outRow+n*m*ChannelBlock), draw(ChannelBlock)
		wantTiles, wantOut := slices.Clone(tiles), slices.Clone(out)
		j.inGo(wantTiles, image, apart, inRow, n)
		j.outGo(wantOut, tiles, bias, apart, outRow, n)
		for _, j.isa = range floatLevels() {
			gotTiles, gotOut := slices.Clone(tiles), slices.Clone(out)
			j.in(gotTiles, image, tmp[:], apart, inRow, n)
			j.out(gotOut, tiles, tmp[:], bias, apart, outRow, n)
			if at := sameBits(gotTiles, wantTiles); at >= 0 {
				t.Fatalf("%v: case %d, %d tiles of %d: element %d of the tiles is %g, want %g", j.isa, i, n, m, at, gotTiles[at], wantTiles[at])
			}
			if at := sameBits(gotOut, wantOut); at >= 0 {
				t.Fatalf("%v: case %d, %d tiles of %d: element %d of the image is %g, want %g", j.isa, i, n, m, at, gotOut[at], wantOut[at])
			}
		}
	}
}
