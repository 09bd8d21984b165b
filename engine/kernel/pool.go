package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Pool runs loops on several threads. A worker that has nothing to do first spins for a while, ready to start within
// a microsecond, and then parks, costing nothing. Spinning burns power: whoever measures energy counts it.
//
// One Run at a time is spread over the workers. A Run that finds the pool busy, because it is nested in another Run or
// because another goroutine runs one, does its own work alone: always correct, never blocked.
// A nil *Pool is valid and serial.
type Pool struct {
	mu      sync.Mutex // held by the Run that owns the workers
	threads int
	spin    time.Duration

	f    func(i int) // the job: written by the owner while no worker is inside
	n    int64
	stop *atomic.Bool // drops what is left of the job when it becomes true; nil = never

	root  *Pool        // of a view: the pool with the workers; nil for a serial one
	until *atomic.Bool // of a view: the stop of its jobs

	failed atomic.Pointer[any] // what the first f that panicked in this job panicked with

	_      [64]byte // the fields that threads fight for, each on its own cache line
	seq    atomic.Uint32
	_      [64]byte
	next   atomic.Int64
	_      [64]byte
	state  atomic.Int64 // number of workers inside the job, plus the flags below
	_      [64]byte
	parked atomic.Int32
	_      [64]byte

	wake   chan struct{} // one token per worker taken off the parked count
	done   chan struct{}
	closed atomic.Bool
	exit   sync.WaitGroup
}

const (
	poolOpen   = 1 << 40 // workers may enter
	poolWaiter = 1 << 41 // the owner is parked; the last worker to leave sends on done
)

// NewPool returns a pool of the given number of threads, of which the caller of Run is one: threads-1 goroutines are
// started. threads < 1 means runtime.GOMAXPROCS(0). spin is how long an idle worker spins before it parks; 0 parks at once.
func NewPool(threads int, spin time.Duration) *Pool {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Pool{threads: threads, spin: spin, wake: make(chan struct{}, threads), done: make(chan struct{}, 1)}
	p.exit.Add(threads - 1)
	for range threads - 1 {
		go p.worker()
	}
	return p
}

// Until returns a view of p, which may be nil, whose Runs leave out what they have not begun when stop becomes true; their
// callers must ask Stopped before they use a result. The view needs no Close.
func (p *Pool) Until(stop *atomic.Bool) *Pool {
	return &Pool{threads: p.Threads(), root: p, until: stop}
}

// Stopped reports whether work was left out, or will be: the stop of a view is true.
func (p *Pool) Stopped() bool { return p != nil && p.until != nil && p.until.Load() }

// Threads returns the number of threads that Run may use, the caller included; 1 for a nil pool.
func (p *Pool) Threads() int {
	if p == nil {
		return 1
	}
	return p.threads
}

// Close stops the workers and waits for them. The pool stays usable, serially. Close of a nil pool does nothing.
func (p *Pool) Close() {
	if p == nil || p.closed.Swap(true) {
		return
	}
	p.mu.Lock() // for ever: every later Run finds the pool busy
	p.seq.Add(1)
	p.unpark(p.threads)
	p.exit.Wait()
}

// Run calls f(i) once for every i in [0, n), in any order, possibly at the same time, and returns when all have returned.
// When an f panics, the indices not yet taken are dropped and Run panics with the same value in its caller. Indices are handed out one by one, so unequal work balances itself. Run allocates nothing.
func (p *Pool) Run(n int, f func(i int)) {
	if p == nil {
		for i := range n {
			f(i)
		}
		return
	}
	stop := p.until
	if p.root != nil {
		p = p.root
	}
	p.run(n, f, stop)
}

// run is Run of a pool that is no view.
func (p *Pool) run(n int, f func(i int), stop *atomic.Bool) {
	if n <= 0 {
		return
	}
	if p.threads == 1 || n == 1 || !p.mu.TryLock() {
		for i := range n {
			if stop != nil && stop.Load() {
				return
			}
			f(i)
		}
		return
	}
	p.f, p.n, p.stop = f, int64(n), stop
	p.next.Store(0)
	p.state.Store(poolOpen)
	p.seq.Add(1)
	if p.parked.Load() > 0 {
		p.unpark(n - 1)
	}
	p.work(f)
	if p.state.Add(-poolOpen) != 0 {
		p.wait()
	}
	p.f, p.stop = nil, nil
	r := p.failed.Swap(nil)
	p.mu.Unlock()
	if r != nil {
		panic(*r)
	}
}

// work takes indices until there are none. A panic must not end the process from a worker, nor leave the pool locked.
func (p *Pool) work(f func(i int)) {
	n, stop := p.n, p.stop
	defer func() {
		if r := recover(); r != nil {
			v := r // r itself would escape, and every call allocate
			p.failed.CompareAndSwap(nil, &v)
			p.next.Store(n)
		}
	}()
	for {
		i := p.next.Add(1) - 1
		if i >= n || stop != nil && stop.Load() {
			return
		}
		f(int(i))
	}
}

// wait returns when no worker is inside a closed job.
func (p *Pool) wait() {
	for i := 0; p.state.Load() != 0; i++ {
		if i < 2000 { // some 50 us: about the longest tile
			pause(4)
			continue
		}
		if v := p.state.Load(); v != 0 && p.state.CompareAndSwap(v, v|poolWaiter) {
			<-p.done
			p.state.Store(0)
			return
		}
	}
}

// unpark wakes up to n parked workers.
func (p *Pool) unpark(n int) {
	for ; n > 0; n-- {
		if !p.takeParked() {
			return
		}
		p.wake <- struct{}{}
	}
}

// takeParked takes one worker off the parked count; the taker owes it a token, or is that worker itself.
func (p *Pool) takeParked() bool {
	for {
		v := p.parked.Load()
		if v <= 0 {
			return false
		}
		if p.parked.CompareAndSwap(v, v-1) {
			return true
		}
	}
}

func (p *Pool) worker() {
	defer p.exit.Done()
	var last uint32
	for {
		last = p.idle(last)
		if p.closed.Load() {
			return
		}
		if p.enter() {
			p.work(p.f)
			if p.state.Add(-1) == poolWaiter {
				p.done <- struct{}{}
			}
		}
	}
}

// enter joins the job unless it is over.
func (p *Pool) enter() bool {
	for {
		v := p.state.Load()
		if v&poolOpen == 0 {
			return false
		}
		if p.state.CompareAndSwap(v, v+1) {
			return true
		}
	}
}

// idle returns the sequence number of a job newer than last, spinning first and then parked.
func (p *Pool) idle(last uint32) uint32 {
	if p.spin > 0 && runtime.GOMAXPROCS(0) > 1 {
		start := time.Now()
		for i := 1; ; i++ {
			if s := p.seq.Load(); s != last {
				return s
			}
			pause(4)
			if i%64 == 0 && time.Since(start) > p.spin {
				break
			}
		}
	}
	for {
		p.parked.Add(1)
		if s := p.seq.Load(); s != last && p.takeParked() {
			return s
		}
		<-p.wake
		if s := p.seq.Load(); s != last {
			return s
		}
	}
}
