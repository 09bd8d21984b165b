package engine

import (
	"math/rand/v2"
	"testing"
)

// TestPlace: of random traces, no two pieces that are in use at once have bytes in common, every piece lies in its block at a
// multiple of a cache line, pieces that leave the arena have no block, and the blocks are no more bytes than the buffers of
// the recorded run.
func TestPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	saved := 0
	for range 500 {
		a := &arena{rec: &trace{}}
		rec := a.rec
		var live []*buffer
		for range 1 + r.IntN(120) {
			if len(live) > 0 && r.IntN(2) == 0 {
				i := r.IntN(len(live))
				if r.IntN(20) == 0 {
					a.giveAway(live[i])
				} else {
					a.release(live[i])
				}
				live = append(live[:i], live[i+1:]...)
				continue
			}
			b, err := a.tryGet(r.IntN(1 << r.IntN(16)))
			if err != nil {
				t.Fatal(err)
			}
			live = append(live, b)
		}
		p := place(rec)
		from, to, size := make([]int, len(p.in)), make([]int, len(p.in)), make([]int, len(p.in))
		k := 0
		for i, e := range p.events {
			if e < 0 {
				to[^e] = i
				continue
			}
			from[k], to[k], size[k] = i, len(p.events), e
			k++
		}
		for i := range p.in {
			if (p.in[i] == keptPiece) != rec.kept[i] {
				t.Fatalf("piece %d: block %d, kept %t", i, p.in[i], rec.kept[i])
			}
			if p.in[i] == keptPiece {
				continue
			}
			if p.at[i]%align != 0 || p.at[i]+size[i] > p.blocks[p.in[i]] {
				t.Fatalf("piece %d of %d bytes at %d of a block of %d", i, size[i], p.at[i], p.blocks[p.in[i]])
			}
			for j := range i {
				if p.in[i] == p.in[j] && from[i] < to[j] && from[j] < to[i] && p.at[i] < p.at[j]+size[j] && p.at[j] < p.at[i]+size[i] {
					t.Fatalf("pieces %d and %d overlap", i, j)
				}
			}
		}
		buffers := map[int]int{}
		for k, b := range rec.on {
			if !rec.kept[k] {
				buffers[b] = rec.sizes[k]
			}
		}
		recorded := 0
		for _, b := range buffers {
			recorded += b
		}
		if int(p.size) > recorded {
			t.Fatalf("%d bytes, the recorded run had %d", p.size, recorded)
		}
		saved += recorded - int(p.size)
	}
	if saved == 0 {
		t.Error("no trace was placed into less memory")
	}
}

// TestStray: a run that does something else than the placement foresees gets memory of its own from there on, and what it
// gives away is never used again.
func TestStray(t *testing.T) {
	a := &arena{rec: &trace{}}
	get := func(n int) *buffer {
		b, err := a.tryGet(n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.mem[:n] {
			b.mem[i] = 0
		}
		return b
	}
	x, y := get(1000), get(500)
	a.release(x)
	z := get(900)
	a.release(y)
	a.release(z)
	p := place(a.rec)
	a.end()
	if len(p.blocks) != 2 || p.in[0] != p.in[2] {
		t.Fatalf("%+v", p)
	}
	for range 3 {
		a.follow(p)
		x, y = get(1000), get(500)
		a.giveAway(x) // it was released when the trace was made
		for i := range x.mem {
			x.mem[i] = 7
		}
		z, w := get(900), get(1000)
		if a.plan != nil || !a.strayed || z.block != nil || w.block != nil {
			t.Fatalf("the run goes on in its blocks: %+v %+v", z, w)
		}
		for _, b := range []*buffer{y, z, w} {
			a.release(b)
		}
		a.end()
		for range 4 {
			a.release(get(1000))
		}
		for i, v := range x.mem {
			if v != 7 {
				t.Fatalf("byte %d of what was given away is %d", i, v)
			}
		}
	}
	if a.held < 0 {
		t.Errorf("%d bytes held", a.held)
	}
}
