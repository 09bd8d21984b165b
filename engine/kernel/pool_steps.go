package kernel

import "sync/atomic"

// RunSteps calls f(step, chunk) for every chunk in [0, chunks) of every step in [0, steps): the chunks of a step at the same
// time on up to all threads, the steps one after the other. Handing a step over takes a fraction of a microsecond, since the
// threads do not leave the loop; they spin between their chunks, so steps should be short. Like Run it is correct, and
// serial, when the pool is busy or nil; a panic of f ends the loop and reaches the caller.
func (p *Pool) RunSteps(steps, chunks int, f func(step, chunk int)) {
	if steps <= 0 || chunks <= 0 {
		return
	}
	if p.Threads() == 1 || chunks == 1 || chunks > maxChunks {
		for s := range steps {
			for c := range chunks {
				f(s, c)
			}
		}
		return
	}
	l := &stepLoop{chunks: int64(chunks), f: f}
	l.state.Store(maxChunks) // nothing to take yet
	p.Run(min(p.Threads(), chunks), func(int) {
		if l.led.Swap(true) {
			l.help()
		} else {
			l.lead(steps)
		}
	})
}

const (
	chunkBits = 16
	maxChunks = 1<<chunkBits - 1
)

// stepLoop is a RunSteps on its way. Whoever comes first leads: the leader alone starts steps, and waits for nothing but
// chunks that others are at.
type stepLoop struct {
	chunks int64
	f      func(step, chunk int)
	led    atomic.Bool
	_      [64]byte
	state  atomic.Int64 // step<<chunkBits + the next chunk to take
	_      [64]byte
	done   atomic.Int64 // chunks of the step that helpers have finished
	_      [64]byte
	over   atomic.Bool
}

// take claims a chunk of the step that runs.
func (l *stepLoop) take() (step, chunk int, ok bool) {
	v := l.state.Load()
	if c := v & maxChunks; c >= l.chunks || !l.state.CompareAndSwap(v, v+1) {
		return 0, 0, false
	}
	return int(v >> chunkBits), int(v & maxChunks), true
}

func (l *stepLoop) lead(steps int) {
	defer l.over.Store(true)
	for s := range steps {
		l.done.Store(0)
		l.state.Store(int64(s)<<chunkBits + 1)
		l.f(s, 0)
		own := int64(1)
		for l.state.Load()&maxChunks < l.chunks {
			if _, c, ok := l.take(); ok {
				l.f(s, c)
				own++
			}
		}
		for l.done.Load() < l.chunks-own {
			if l.over.Load() { // a helper panicked
				return
			}
			pause(1)
		}
	}
}

func (l *stepLoop) help() {
	finished := false
	defer func() {
		if !finished {
			l.over.Store(true)
		}
	}()
	for !l.over.Load() {
		s, c, ok := l.take()
		if !ok {
			pause(1)
			continue
		}
		l.f(s, c)
		l.done.Add(1)
	}
	finished = true
}
