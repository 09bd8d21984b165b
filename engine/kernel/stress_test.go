//go:build unix

package kernel

import (
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stressCall is one product with its right answer.
type stressCall struct {
	name string
	run  func(p *Pool, c []float32)
	want []float32
}

// stressCalls are products in float32, half precision, bfloat16 and int8, packed and not, whose panels, rows and edges differ.
func stressCalls(r *rand.Rand) []stressCall {
	var out []stressCall
	for len(out) < 60 {
		m, n, k := 1+r.IntN(40), 1+r.IntN(130), 1+r.IntN(200)
		if len(out)%15 == 0 {
			m, n, k = 64+r.IntN(64), 128+r.IntN(200), 128+r.IntN(200) // large enough to be spread over threads
		}
		a, b := randSlice(r, m*k), randSlice(r, k*n)
		q, scale := make([]int8, k*n), make([]float32, n)
		for i := range q {
			q[i] = int8(r.IntN(255) - 127)
		}
		for i := range scale {
			scale[i] = 0.01 * r.Float32()
		}
		w, w8 := PackF32(k, n, b, n, false), PackS8(k, n, q, n, false)
		h, _ := halfSlice(BF16, b)
		wh := PackHalf(BF16, k, n, h, n, false)
		for name, f := range map[string]func(p *Pool, c []float32){
			"packed": func(p *Pool, c []float32) { GemmF32(p, m, a, k, w, c, n, Epilogue{}) },
			"plain":  func(p *Pool, c []float32) { MatMulF32(p, m, n, k, a, k, false, b, n, false, c, n, Epilogue{}) },
			"half":   func(p *Pool, c []float32) { GemmHalf(p, m, a, k, wh, c, n, Epilogue{}) },
			"bf16":   func(p *Pool, c []float32) { GemmBF16(p, m, a, k, wh, c, n, Epilogue{}) },
			"int8":   func(p *Pool, c []float32) { DynQuantGemm(p, m, a, k, w8, scale, nil, c, n, Epilogue{}) },
		} {
			s := stressCall{name: name, run: f, want: make([]float32, m*n)}
			f(nil, s.want)
			out = append(out, s)
		}
	}
	return out
}

// TestStress: products give the same bits while the collector runs all the time, the profiler interrupts and other signals
// rain in, from several goroutines that share a pool. WATTSHED_STRESS is the number of products, 50,000 by default.
func TestStress(t *testing.T) {
	total := int64(50000)
	if s := os.Getenv("WATTSHED_STRESS"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			t.Fatalf("WATTSHED_STRESS is %q", s)
		}
		total = n
	}
	calls := stressCalls(rand.New(rand.NewPCG(1, 9)))
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	if err := pprof.StartCPUProfile(io.Discard); err == nil {
		defer pprof.StopCPUProfile()
	}
	caught := make(chan os.Signal, 64)
	signal.Notify(caught, syscall.SIGUSR1)
	defer signal.Stop(caught)
	stop := make(chan struct{})
	var noise sync.WaitGroup
	var signals atomic.Int64
	noise.Add(2)
	go func() {
		defer noise.Done()
		for {
			select {
			case <-stop:
				return
			case <-caught:
				signals.Add(1)
			case <-time.After(100 * time.Microsecond):
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		}
	}()
	var sink [][]byte
	go func() { // garbage, and stacks that move
		defer noise.Done()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			sink = append(sink[:i%16], make([]byte, 1<<14))
			runtime.Gosched()
			time.Sleep(50 * time.Microsecond)
		}
	}()
	pool := NewPool(4, 20*time.Microsecond)
	defer pool.Close()
	var done, wrong atomic.Int64
	var work sync.WaitGroup
	for g := range 6 {
		work.Add(1)
		go func() {
			defer work.Done()
			r := rand.New(rand.NewPCG(uint64(g), 3))
			for done.Add(1) <= total {
				s := &calls[r.IntN(len(calls))]
				c := make([]float32, len(s.want)) // garbage on purpose
				p := pool
				if g%2 == 1 {
					p = nil
				}
				s.run(p, c)
				if at := sameBits(c, s.want); at >= 0 {
					if wrong.Add(1) == 1 {
						t.Errorf("%s: element %d is %g, want %g", s.name, at, c[at], s.want[at])
					}
				}
			}
		}()
	}
	var before, after debug.GCStats
	debug.ReadGCStats(&before)
	work.Wait()
	debug.ReadGCStats(&after)
	close(stop)
	noise.Wait()
	t.Logf("%d products on %s, %d wrong; %d collections, %d signals", total, Active(), wrong.Load(), after.NumGC-before.NumGC, signals.Load())
	if signals.Load() == 0 {
		t.Error("no signal arrived")
	}
}
