package kernel

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolRunsEveryIndexOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		for _, spin := range []time.Duration{0, 50 * time.Microsecond} {
			p := NewPool(threads, spin)
			if p.Threads() != threads {
				t.Fatalf("Threads() = %d, want %d", p.Threads(), threads)
			}
			for round := range 300 {
				n := round % 37
				hits := make([]int32, n) // plain memory is safe to read after Run: the race detector checks that
				p.Run(n, func(i int) { hits[i]++ })
				for i, h := range hits {
					if h != 1 {
						t.Fatalf("threads %d: index %d of %d ran %d times", threads, i, n, h)
					}
				}
				if round%50 == 0 {
					time.Sleep(200 * time.Microsecond) // let the workers park
				}
			}
			p.Close()
			p.Close()
			ran := 0
			p.Run(5, func(int) { ran++ })
			if ran != 5 {
				t.Fatalf("Run after Close ran %d of 5", ran)
			}
		}
	}
}

// A view of a view has the workers of the pool, and stops when its own stop says so.
func TestPoolViewOfView(t *testing.T) {
	p := NewPool(3, 0)
	defer p.Close()
	stop := new(atomic.Bool)
	v := p.Until(new(atomic.Bool)).Until(stop)
	var ran atomic.Int32
	v.Run(5, func(int) { ran.Add(1) })
	if ran.Load() != 5 || v.Threads() != 3 {
		t.Errorf("%d of 5 ran, of %d threads", ran.Load(), v.Threads())
	}
	stop.Store(true)
	v.Run(5, func(int) { ran.Add(1) })
	if ran.Load() != 5 || !v.Stopped() {
		t.Errorf("%d ran after the stop", ran.Load()-5)
	}
}

func TestPoolNestedAndConcurrent(t *testing.T) {
	for _, spin := range []time.Duration{0, 20 * time.Microsecond} {
		p := NewPool(3, spin)
		var total atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 200 {
					p.Run(5, func(int) { p.Run(7, func(int) { total.Add(1) }) })
				}
			})
		}
		wg.Wait()
		p.Close()
		if got := total.Load(); got != 4*200*5*7 {
			t.Fatalf("%d inner calls, want %d", got, 4*200*5*7)
		}
	}
}

// A thread that is held up keeps only the index that it is at: the others of its share are taken by who has time.
func TestPoolTakesFromOthers(t *testing.T) {
	for _, threads := range []int{2, 3} {
		p := NewPool(threads, 50*time.Microsecond)
		for held := range 9 {
			p.Begin()
			var others atomic.Int32
			p.Run(9, func(i int) {
				if i != held {
					others.Add(1)
					return
				}
				for end := time.Now().Add(10 * time.Second); others.Load() < 8; time.Sleep(10 * time.Microsecond) {
					if time.Now().After(end) {
						t.Errorf("%d threads: %d of 8 indices ran beside index %d", threads, others.Load(), held)
						return
					}
				}
			})
			p.End()
		}
		p.Close()
	}
}

func TestPoolNilIsSerial(t *testing.T) {
	var p *Pool
	n := 0
	p.Run(9, func(i int) {
		if i != n {
			t.Fatalf("index %d, want %d", i, n)
		}
		n++
	})
	if n != 9 || p.Threads() != 1 {
		t.Fatalf("ran %d, threads %d", n, p.Threads())
	}
	p.Close()
}

func TestPoolSlowWorkerIsWaitedFor(t *testing.T) {
	p := NewPool(2, 0)
	defer p.Close()
	for range 20 {
		var sum int64
		var mu sync.Mutex
		p.Run(2, func(i int) {
			time.Sleep(time.Duration(1+i) * time.Millisecond) // longer than the owner spins
			mu.Lock()
			sum += int64(i) + 1
			mu.Unlock()
		})
		if sum != 3 {
			t.Fatalf("sum %d, want 3", sum)
		}
	}
}

// A panic of any thread comes back in the caller of Run, and the pool goes on.
func TestPoolRunPanics(t *testing.T) {
	p := NewPool(2, 0)
	defer p.Close()
	for bad := range 8 {
		func() {
			defer func() {
				if r := recover(); r != bad {
					t.Fatalf("recovered %v, want %d", r, bad)
				}
			}()
			p.Run(8, func(i int) {
				time.Sleep(100 * time.Microsecond) // time for the worker to take its share
				if i == bad {
					panic(i)
				}
			})
		}()
		var n atomic.Int64
		if p.Run(5, func(int) { n.Add(1) }); n.Load() != 5 {
			t.Fatalf("%d calls after a panic, want 5", n.Load())
		}
	}
}

func TestPoolRunDoesNotAllocate(t *testing.T) {
	p := NewPool(2, 0)
	defer p.Close()
	var x atomic.Int64
	f := func(int) { x.Add(1) }
	if a := testing.AllocsPerRun(100, func() { p.Run(8, f) }); a > 0 {
		t.Fatalf("Run allocates %v times", a)
	}
}

func BenchmarkForkJoin(b *testing.B) {
	for _, c := range []struct {
		name string
		spin time.Duration
	}{{"park", 0}, {"spin", 200 * time.Microsecond}} {
		b.Run(c.name, func(b *testing.B) {
			p := NewPool(2, c.spin)
			defer p.Close()
			f := func(int) { pause(4) }
			for b.Loop() {
				p.Run(2, f)
			}
		})
	}
}

// TestRunSteps: every chunk of a step runs once and sees what all chunks of the step before wrote, whatever the threads; a
// panic reaches the caller and leaves the pool usable.
func TestRunSteps(t *testing.T) {
	for _, threads := range []int{1, 2, 3} {
		p := NewPool(threads, 0)
		for _, chunks := range []int{1, 2, 5} {
			state := make([]int, chunks) // of one step; a chunk reads all and writes its own
			next := make([]int, chunks)
			const steps = 60
			p.RunSteps(steps, chunks, func(s, c int) {
				from, to := state, next
				if s%2 == 1 {
					from, to = next, state
				}
				sum := 1
				for _, v := range from {
					sum += v
				}
				to[c] = sum % 1009
			})
			want := 0
			for range steps {
				want = (1 + want*chunks) % 1009
			}
			for c, v := range state {
				if v != want {
					t.Fatalf("%d threads, %d chunks: chunk %d is %d, want %d", threads, chunks, c, v, want)
				}
			}
			if chunks > 1 {
				func() {
					defer func() {
						if recover() == nil {
							t.Error("no panic")
						}
					}()
					p.RunSteps(9, chunks, func(s, c int) {
						if s == 5 && c == chunks-1 {
							panic("chunk")
						}
					})
				}()
			}
		}
		p.Close()
	}
}
