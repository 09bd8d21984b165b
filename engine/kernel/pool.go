package kernel

import (
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Pool runs loops on several threads. A worker that has nothing to do first spins for a while, ready to start within
// a microsecond, then sleeps in the kernel, ready within some ten, and then parks, ready within a hundred. Only spinning costs CPU time, and power:
// whoever measures energy counts it.
//
// One Run at a time is spread over the workers. A Run that finds the pool busy, because it is nested in another Run or
// because another goroutine runs one, does its own work alone: always correct, never blocked.
// A nil *Pool is valid and serial.
type Pool struct {
	mu      sync.Mutex // held by the Run that owns the workers
	threads int
	spin    time.Duration
	passes  atomic.Int32 // between Begin and End

	f    func(i int)  // the job: written by the owner while no worker is inside
	stop *atomic.Bool // drops what is left of the job when it becomes true; nil = never

	root  *Pool        // of a view: the pool with the workers; nil for a serial one
	until *atomic.Bool // of a view: the stop of its jobs

	failed atomic.Pointer[any] // what the first f that panicked in this job panicked with

	_      [64]byte // the fields that threads fight for, each on its own cache line
	seq    atomic.Uint32
	_      [64]byte
	state  atomic.Int64 // number of workers inside the job, plus the flags below
	_      [64]byte
	parked atomic.Int32
	asleep atomic.Int32 // workers that nap
	_      [64]byte
	shares []poolShare // by thread

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
// started. threads < 1 means runtime.GOMAXPROCS(0). spin is how long an idle worker spins before it sleeps, between a Begin and its End a millisecond
// at least; where it is 0 or less, 20 microseconds between a Begin and its End, and not at all otherwise.
func NewPool(threads int, spin time.Duration) *Pool {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Pool{threads: threads, spin: spin, shares: make([]poolShare, threads), wake: make(chan struct{}, threads), done: make(chan struct{}, 1)}
	p.exit.Add(threads - 1)
	for i := range threads - 1 {
		go p.worker(i + 1)
	}
	return p
}

// passSpin is how long threads of a pool that spins do so during a pass. What one thread does alone between two loops mostly takes less: of a
// PP-LCNet on a Zen 3 with two threads, workers that parked after 100 microseconds did so before two of three loops, and it took a tenth longer.
const passSpin = time.Millisecond

// parkSpin is the same of a pool that does not spin otherwise: about what it takes to wake a worker that sleeps. Of a MobileNetV2, a PP-LCNet and a
// MiniLM on a Zen 4 with two threads that took less CPU time than sleeping at once, since waking is work too, and from 7 to 12 % less time.
const parkSpin = 20 * time.Microsecond

// napLength is how long a worker sleeps in the kernel before it parks, napTotal the same between a Begin and its End. Waking one takes from 3 to 15
// microseconds on a Zen 4; a goroutine that is parked there takes from 70 to 100, since the thread that comes to run it sleeps, of its own accord,
// before it takes it. But a thread in the kernel may keep a processor of the scheduler from other goroutines, so after a pass it is not there for long.
const (
	napLength = 200 * time.Microsecond
	napTotal  = time.Millisecond
)

// Begin says that Runs will follow each other closely until End: threads that wait for the next one spin for a millisecond then,
// those of a pool that does not spin for 20 microseconds. Passes may overlap. A nil pool ignores both.
func (p *Pool) Begin() { p.pass(1) }

// End ends what Begin began.
func (p *Pool) End() { p.pass(-1) }

func (p *Pool) pass(n int32) {
	if p != nil && p.root != nil {
		p = p.root
	}
	if p != nil {
		p.passes.Add(n)
	}
}

// patience returns how long a thread that waits spins now.
func (p *Pool) patience() time.Duration {
	switch {
	case p.passes.Load() == 0:
		return p.spin
	case p.spin > 0:
		return max(p.spin, passSpin)
	}
	return parkSpin
}

// Until returns a view of p, which may be nil, whose Runs leave out what they have not begun when stop becomes true; their
// callers must ask Stopped before they use a result. A view of a view is one of its pool, with the new stop alone. The view needs no Close.
func (p *Pool) Until(stop *atomic.Bool) *Pool {
	if p != nil && p.root != nil {
		p = p.root
	}
	return &Pool{threads: p.Threads(), root: p, until: stop}
}

// Stopped reports whether work was left out, or will be: the stop of a view is true.
func (p *Pool) Stopped() bool { return p != nil && p.until != nil && p.until.Load() }

// Alone returns a view of p, which may be nil, for work on one of its threads: it has that one, and the stop of p.
func (p *Pool) Alone() *Pool {
	if p == nil || p.until == nil {
		return nil
	}
	return &Pool{threads: 1, until: p.until}
}

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
	p.awaken(p.threads)
	p.exit.Wait()
}

// Run calls f(i) once for every i in [0, n), in any order, possibly at the same time, and returns when all have returned.
// When an f panics, the indices not yet taken are dropped and Run panics with the same value in its caller, be it a fault of memory, which on the
// threads of a pool is a panic with a method Addr (debug.SetPanicOnFault). Every thread has its share of
// the indices, the caller the first ones, and takes them one by one; who has none left takes the last ones of others. So unequal work
// balances itself, and what a thread wrote in one Run is mostly near it in the next. Run allocates nothing.
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
	if p.threads == 1 || n == 1 || uint64(n) > math.MaxUint32 || !p.mu.TryLock() {
		for i := range n {
			if stop != nil && stop.Load() {
				return
			}
			f(i)
		}
		return
	}
	p.f, p.stop = f, stop
	from := 0
	for i := range p.shares {
		to := ceilDiv((i+1)*n, p.threads)
		p.shares[i].set(from, to)
		from = to
	}
	p.state.Store(poolOpen)
	p.seq.Add(1)
	p.awaken(min(n, p.threads) - 1)
	p.work(0)
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
func (p *Pool) work(thread int) {
	f, stop := p.f, p.stop
	defer func() {
		if r := recover(); r != nil {
			v := r // r itself would escape, and every call allocate
			if f, ok := r.(memoryFault); ok && thread > 0 {
				v = poolFault{f, debug.Stack()}
			}
			p.failed.CompareAndSwap(nil, &v)
			for i := range p.shares {
				p.shares[i].set(0, 0)
			}
		}
	}()
	for k := range p.shares {
		s := &p.shares[(thread+k)%len(p.shares)]
		for {
			i, ok := s.take(k > 0)
			if !ok {
				break
			}
			if stop != nil && stop.Load() {
				return
			}
			f(i)
		}
	}
}

// memoryFault is what a fault of memory panics with where debug.SetPanicOnFault was called.
type memoryFault interface {
	runtime.Error
	Addr() uintptr
}

// poolFault is one of a worker, with where it was, which the stack of the caller of Run does not say.
type poolFault struct {
	memoryFault
	stack []byte
}

// Error returns the message of the fault, and the stack of the worker below it.
func (f poolFault) Error() string { return f.memoryFault.Error() + "\n" + string(f.stack) }

// Unwrap returns the fault itself.
func (f poolFault) Unwrap() error { return f.memoryFault }

// poolShare is a range of indices that are not taken yet, on a cache line of its own.
type poolShare struct {
	left atomic.Uint64 // the end<<32 + the first
	_    [56]byte
}

func (s *poolShare) set(from, to int) { s.left.Store(uint64(to)<<32 | uint64(from)) }

// take takes the first index, or the last.
func (s *poolShare) take(last bool) (i int, ok bool) {
	for {
		v := s.left.Load()
		from, to := v&math.MaxUint32, v>>32
		switch {
		case from >= to:
			return 0, false
		case last && s.left.CompareAndSwap(v, v-1<<32):
			return int(to) - 1, true
		case !last && s.left.CompareAndSwap(v, v+1):
			return int(from), true
		}
	}
}

// wait returns when no worker is inside a closed job.
func (p *Pool) wait() {
	var start time.Time
	for i := 1; p.state.Load() != 0; i++ {
		if i < 2000 { // some 100 us: about the longest tile
			pause(4)
			continue
		}
		if start.IsZero() {
			start = time.Now()
		}
		if runtime.GOMAXPROCS(0) > 1 && (i%64 != 0 || time.Since(start) < p.patience()) { // else the worker needs this processor
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

// awaken wakes up to n workers, those that nap first; the caller has changed seq.
func (p *Pool) awaken(n int) {
	if p.asleep.Load() > 0 {
		n -= rouse(&p.seq, n)
	}
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

func (p *Pool) worker(thread int) {
	defer p.exit.Done()
	debug.SetPanicOnFault(true) // whoever runs the job knows what memory may fault
	var last uint32
	for {
		last = p.idle(last)
		if p.closed.Load() {
			return
		}
		if p.enter() {
			p.work(thread)
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

// nap sleeps in the kernel until there is a job newer than last, but not for long.
func (p *Pool) nap(last uint32) {
	p.asleep.Add(1)
	for n := napLength; ; n += napLength {
		nap(&p.seq, last)
		if p.seq.Load() != last || n >= napTotal || p.passes.Load() == 0 {
			break
		}
	}
	p.asleep.Add(-1)
}

// idle returns the sequence number of a job newer than last, spinning first, then napping and then parked.
func (p *Pool) idle(last uint32) uint32 {
	several := runtime.GOMAXPROCS(0) > 1 // else the owner needs this processor
	if several && p.patience() > 0 {
		start := time.Now()
		for i := 1; ; i++ {
			if s := p.seq.Load(); s != last {
				return s
			}
			pause(4)
			if i%64 == 0 && time.Since(start) > p.patience() {
				break
			}
		}
	}
	if several {
		p.nap(last)
	}
	for {
		if s := p.seq.Load(); s != last {
			return s
		}
		p.parked.Add(1)
		if s := p.seq.Load(); s != last && p.takeParked() {
			return s
		}
		<-p.wake
	}
}
