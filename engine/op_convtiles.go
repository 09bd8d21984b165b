package engine

import (
	"sync"
	"sync/atomic"

	"github.com/wattshed/wattshed/engine/kernel"
)

// blockedConv is the state of a BlockedConv: its weights, and the geometry of the last image size.
type blockedConv struct {
	*tiledConv
	last  atomic.Pointer[blockedGeometry]
	tiles int // the largest tiles of Winograd's products that are allowed, 0 for none
}

// tiledConv is the weights of a BlockedConv, which sessions share.
type tiledConv struct {
	packed *kernel.PackedConv
	tiled  [2]winograd // for tiles of 2x2 and 4x4
	made   atomic.Int64
}

// grown is the number of bytes that were added after Load.
func (c *tiledConv) grown() int64 { return c.made.Load() }

type blockedGeometry struct {
	h, w int
	g    kernel.Window
	by   *kernel.Winograd // nil for the definition
}

// winograd holds the transformed weights for one size of tiles, made when they are first wanted.
type winograd struct {
	once sync.Once
	w    *kernel.Winograd
}

// maxWinogradError is the bound of kernel.Winograd.Bound up to which tiles replace the definition.
const maxWinogradError = 1e-4

// maxWinogradBytes is the size of transformed weights up to which tiles are used: beyond it they take too much memory, and
// half of it for tiles of 4x4, where reading them costs what the fewer multiplications save.
const maxWinogradBytes = 8 << 20

// tilesFit tells whether transformed weights for tiles of m x m are small enough.
func tilesFit(k *kernel.PackedConv, m int) bool {
	return tilesBytes(k, m) <= maxWinogradBytes/int64(m/2)
}

func tilesBytes(k *kernel.PackedConv, m int) int64 {
	return 4 * int64((m+2)*(m+2)) * int64(k.Cin) * int64(k.Cout)
}

// Transformed weights of all convolutions together may take a quarter of what all weights of a plan take, or leastTiles bytes: they are a second copy of
// some. The first convolutions have them, as they have the largest images for their weights.
const (
	tilesShare = 4
	leastTiles = 2 << 20
)

// allowTiles limits the tiles of convolutions whose transformed weights would be too large altogether; weights are the bytes of all others.
func (p *Plan) allowTiles(weights int64) {
	left := max(weights/tilesShare, leastTiles)
	seen := map[*tiledConv]int{}
	p.each(func(s *step) {
		st, ok := s.state.(*blockedConv)
		if !ok || st.tiles == 0 {
			return
		}
		m, ok := seen[st.tiledConv]
		if !ok {
			for m = st.tiles; m > 0 && (!tilesFit(st.packed, m) || tilesBytes(st.packed, m) > left); m -= 2 {
			}
			if m > 0 {
				left -= tilesBytes(st.packed, m)
			}
			seen[st.tiledConv] = m
		}
		st.tiles = m
	})
}

// choose returns the fastest way to convolve images of oh x ow outputs.
func (st *blockedConv) choose(oh, ow int) *kernel.Winograd {
	k := st.packed
	best, cost := 0, 0.9*k.Cost(oh, ow, 0)
	for m := 2; m <= st.tiles; m += 2 {
		if !tilesFit(k, m) {
			continue
		}
		if c := k.Cost(oh, ow, m); c < cost {
			best, cost = m, c
		}
	}
	if best == 0 {
		return nil
	}
	t := &st.tiled[best/2-1]
	t.once.Do(func() {
		if w := kernel.NewWinograd(k, best); w.Bound() < maxWinogradError {
			t.w = w
			st.made.Add(w.Bytes())
		}
	})
	return t.w
}

func (*blockedConv) packedWeight() {}
