package engine

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"

	"github.com/wattshed/wattshed/model"
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
		mem := x.mem  // x itself is the arena's
		for i := range mem {
			mem[i] = 7
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
		for i, v := range mem {
			if v != 7 {
				t.Fatalf("byte %d of what was given away is %d", i, v)
			}
		}
		countsIdle(t, a)
	}
	if a.held < 0 {
		t.Errorf("%d bytes held", a.held)
	}
}

// countsIdle: an arena that thinks that it has no free buffers never drops those that it has.
func countsIdle(t *testing.T, a *arena) {
	t.Helper()
	n := 0
	for _, l := range a.free {
		n += len(l)
	}
	if n != a.idle {
		t.Fatalf("%d free buffers are counted as %d", n, a.idle)
	}
}

// traced returns the placement of a run that asks for pieces of these sizes and frees them; the last one leaves the arena.
func traced(t *testing.T, sizes ...int) *placement {
	t.Helper()
	a := &arena{rec: &trace{}}
	rec := a.rec
	for i, b := range gotten(t, a, sizes...) {
		if i == len(sizes)-1 {
			a.giveAway(b)
		} else {
			a.release(b)
		}
	}
	a.end()
	return place(rec)
}

// gotten asks an arena for pieces of these sizes.
func gotten(t *testing.T, a *arena, sizes ...int) (l []*buffer) {
	t.Helper()
	for _, n := range sizes {
		b, err := a.tryGet(n)
		if err != nil {
			t.Fatal(err)
		}
		l = append(l, b)
	}
	return l
}

// TestArenaLetsGo: memory that the arena no longer counts is not kept alive by it: blocks of an earlier, larger placement,
// and blocks that went to the caller, who has dropped them.
func TestArenaLetsGo(t *testing.T) {
	large, small := traced(t, 5000, 6000, 7000, 8000, 64), traced(t, 300, 64)
	a := &arena{}
	a.follow(large)
	var seen []weak.Pointer[byte]
	l := gotten(t, a, 5000, 6000, 7000, 8000)
	for _, b := range l {
		if b.block == nil {
			t.Fatalf("a piece without a block: %+v", b)
		}
		seen = append(seen, weak.Make(&b.mem[0]))
	}
	a.giveAway(l[0]) // strays: the run that was recorded kept another piece
	for _, b := range l[1:] {
		a.release(b)
	}
	a.end()
	l = nil
	for range 2 {
		a.follow(small)
		m := gotten(t, a, 300, 64)
		a.release(m[0])
		a.giveAway(m[1])
		a.end()
	}
	if a.held != small.size {
		t.Errorf("%d bytes held, want the %d of the small placement", a.held, small.size)
	}
	runtime.GC()
	for i, w := range seen {
		if w.Value() != nil {
			t.Errorf("piece %d of the large placement is still in memory", i)
		}
	}
	runtime.KeepAlive(a)
}

// TestArenaOfKeptPiece: a piece that is about to leave the arena takes no larger buffer than it needs.
func TestArenaOfKeptPiece(t *testing.T) {
	a := &arena{}
	for _, b := range gotten(t, a, 4096) {
		a.release(b)
	}
	a.follow(traced(t, 100, 1100))
	l := gotten(t, a, 100, 1100)
	if _, want := sizeClass(1100); l[1].block != nil || len(l[1].mem) != want {
		t.Errorf("%d bytes for a kept piece of 1100, want %d", len(l[1].mem), want)
	}
}

// TestArenaOfManyShapes: with placements that alternate, of a block in another size class each, the arena holds no more than
// twice the larger of the two last ones.
func TestArenaOfManyShapes(t *testing.T) {
	var plans []*placement
	var sizes []int
	for n := 1000; n < 1<<20; n = n * 5 / 4 {
		plans, sizes = append(plans, traced(t, n, 64)), append(sizes, n)
	}
	a := &arena{}
	run := func(i int) {
		a.follow(plans[i])
		l := gotten(t, a, sizes[i], 64)
		a.release(l[0])
		a.giveAway(l[1])
		if a.strayed {
			t.Fatalf("placement %d is not followed", i)
		}
		a.end()
		countsIdle(t, a)
	}
	last := 0
	for _, i := range rand.New(rand.NewPCG(5, 6)).Perm(len(plans)) {
		run(i)
		if i != last && a.held > 2*max(plans[i].size, plans[last].size) {
			t.Errorf("%d bytes held after placements of %d and %d", a.held, plans[last].size, plans[i].size)
		}
		last = i
	}
	made := a.made
	for range 10 { // two in turn: nothing is made anew but what leaves
		run(0)
		run(len(plans) - 1)
	}
	if made = a.made - made; made > 20+2 {
		t.Errorf("%d buffers made by 20 runs of two placements", made)
	}
	made = a.made
	for range 10 { // three whose sizes are within a factor of two: at most one of them, where a block that is too large for it alone is left over
		for i := 20; i < 23; i++ {
			run(i)
		}
	}
	if made = a.made - made; made > 30+10 {
		t.Errorf("%d buffers made by 30 runs of three placements", made)
	}
	a = &arena{}
	for range 10 {
		for i := 20; i < 23; i++ {
			run(i)
		}
	}
	if a.made > 30+3 {
		t.Errorf("%d buffers made by 30 runs of three placements alone", a.made)
	}
}

// TestPlacementsOfManyShapes: of more input shapes than maxPlacements one placement goes at a time: one that is not followed
// any more, else the one that was not used for longest.
func TestPlacementsOfManyShapes(t *testing.T) {
	float := model.Type{DType: model.Float32, Shape: model.Shape{{Size: -1}}}
	p, err := Compile(&model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Inputs: []*model.Value{{Name: "x", Type: float}}, Outputs: []*model.Value{{Name: "z", Type: float}},
		Nodes: []*model.Node{{Op: "Exp", Inputs: []string{"x"}, Outputs: []string{"y"}}, {Op: "Cos", Inputs: []string{"y"}, Outputs: []string{"z"}}}},
		Options{Skip: []string{passInPlace}})
	if err != nil {
		t.Fatal(err)
	}
	run := func(n int) {
		t.Helper()
		if _, err := p.Exec(t.Context(), nil, map[string]any{"x": model.FromSlice([]int{n}, make([]float32, n))}); err != nil {
			t.Fatal(err)
		}
	}
	has := func(n int) *placed {
		for _, e := range p.placed {
			if e.inputs == fmt.Sprintf("x[%d]", n) {
				return e
			}
		}
		return nil
	}
	for n := range maxPlacements {
		run(n + 1)
	}
	run(1)
	run(maxPlacements + 1)
	if len(p.placed) != maxPlacements || has(1) == nil || has(2) != nil || has(3) == nil || has(maxPlacements+1) == nil {
		t.Errorf("%d placements after %d shapes; first %t, second %t, last %t", len(p.placed), maxPlacements+1, has(1) != nil, has(2) != nil, has(maxPlacements+1) != nil)
	}
	has(40).misses.Store(maxMisses)
	run(maxPlacements + 2)
	if len(p.placed) != maxPlacements || has(40) != nil || has(3) == nil {
		t.Errorf("%d placements; the one that is not followed %t, the oldest %t", len(p.placed), has(40) != nil, has(3) != nil)
	}
}

// TestPlacementOfFullTrace: of a run with too many pieces nothing is kept but that it is such a run.
func TestPlacementOfFullTrace(t *testing.T) {
	p := new(Plan)
	a := &arena{rec: &trace{}}
	for range maxPieces + 1 {
		a.release(gotten(t, a, 64)[0])
	}
	p.finish(a, "s", nil)
	if e := p.placed["s"]; e == nil || e.t != nil || e.misses.Load() < maxMisses {
		t.Errorf("%+v", e)
	}
	p.begin(a, "s")
	if a.plan != nil || a.rec != nil {
		t.Error("the next run follows or records")
	}
	if len(p.Passes()) != 0 {
		t.Errorf("%v", p.Passes())
	}
}
