//go:build !static

package quantize_test

import (
	"context"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// TestCholesky checks the factor of an inverse by multiplying back: U H U^T is the unit matrix.
func TestCholesky(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, n := range []int{1, 2, 63, 64, 65, 130, 200} {
		x := make([]float32, 2*n*n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		h := quantize.Hessian(x, n)
		u, ok := quantize.InverseFactor(h, n)
		if !ok {
			t.Fatalf("%d: not positive definite", n)
		}
		uh := make([]float64, n*n)
		for i := range n {
			for j := range n {
				if j < i && u[i*n+j] != 0 {
					t.Fatalf("%d: element %d,%d below the diagonal is %v", n, i, j, u[i*n+j])
				}
				for l := i; l < n; l++ {
					uh[i*n+j] += u[i*n+l] * h[l*n+j]
				}
			}
		}
		for i := range n {
			for j := range n {
				s := 0.0
				for l := j; l < n; l++ {
					s += uh[i*n+l] * u[j*n+l]
				}
				want := 0.0
				if i == j {
					want = 1
				}
				// float64 sums of 200 terms; the condition of such a matrix is below 100
				if math.Abs(s-want) > 1e-10 {
					t.Fatalf("%d: element %d,%d of the product is %v", n, i, j, s)
				}
			}
		}
	}
	for _, bad := range [][]float64{{0}, {-1}, {1, 2, 2, 1}, {1, 0, 0, math.NaN()}, {math.Inf(1)}} {
		if quantize.Cholesky(slices.Clone(bad), int(math.Sqrt(float64(len(bad))))) {
			t.Errorf("%v: positive definite", bad)
		}
	}
}

// plainRound returns the code of v, round(v * (1/s) + z) with halves away from 0, clamped, and what it stands for. (mlas, q4_dq.cpp)
func plainRound(v float32, p quantize.Params, bits int) (uint8, float64) {
	c := float64(p.ZeroPoint)
	if p.Scale != 0 {
		c = math.Round(float64(v*(1/p.Scale) + float32(p.ZeroPoint)))
	}
	q := uint8(math.Min(math.Max(c, 0), float64(int(1)<<bits-1)))
	return q, float64(float32(int32(q)-p.ZeroPoint) * p.Scale)
}

// plainGrid returns scale and zero point of a group with the extremes lo <= 0 and hi >= 0. (mlas, q4_dq.cpp: range2scale, range2scalezp)
func plainGrid(lo, hi float32, bits int, symmetric bool) quantize.Params {
	if symmetric {
		m := lo
		if hi > -lo {
			m = hi
		}
		return quantize.Params{Scale: m / -float32(int(1)<<(bits-1)), ZeroPoint: 1 << (bits - 1)}
	}
	s := (hi - lo) / float32(int(1)<<bits-1)
	if s == 0 {
		return quantize.Params{}
	}
	return quantize.Params{Scale: s, ZeroPoint: int32(math.Round(float64(-lo / s)))}
}

// plainGPTQ is GPTQ as its paper derives it, one output at a time in float64: the inverse by elimination, each rounded
// input's row and column eliminated from it, the error spread over the rest. Grids are those of each group of the
// original weights, with the least squared error weighted by the diagonal of h, of extremes shrunk by up to 0.4.
func plainGPTQ(w []float32, k, n, group, bits int, symmetric bool, h []float64) [][]uint8 {
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return h[order[a]*k+order[a]] > h[order[b]*k+order[b]] })
	mean := 0.0
	for i := range k {
		mean += h[i*k+i] / float64(k)
	}
	inverse := make([][]float64, k) // of h with damping, by Gauss and Jordan
	for i := range inverse {
		inverse[i] = make([]float64, 2*k)
		for j := range k {
			inverse[i][j] = h[order[i]*k+order[j]]
		}
		inverse[i][i] += 0.01 * mean
		inverse[i][k+i] = 1
	}
	for c := range k {
		p := inverse[c][c]
		for j := range inverse[c] {
			inverse[c][j] /= p
		}
		for r := range k {
			if f := inverse[r][c]; r != c && f != 0 {
				for j := range inverse[r] {
					inverse[r][j] -= f * inverse[c][j]
				}
			}
		}
	}
	cost := func(row []float32, codes []uint8, of func(i int) quantize.Params) (e float64) {
		d := make([]float64, k)
		for i, c := range codes {
			p := of(i)
			d[i] = float64(float32(int32(c)-p.ZeroPoint)*p.Scale) - float64(row[i])
		}
		for i := range d {
			for j := range d {
				e += d[i] * d[j] * h[i*k+j]
			}
		}
		return e
	}
	var all [][]uint8
	for out := range n {
		row := w[out*k : (out+1)*k]
		var grids, widest []quantize.Params
		for g := 0; g < k; g += group {
			part := row[g:min(g+group, k)]
			var lo, hi float32
			for _, v := range part {
				lo, hi = min(lo, v), max(hi, v)
			}
			best, least := quantize.Params{}, math.Inf(1)
			for s := range 17 {
				shrink := 1 - 0.4*float32(s)/16
				p := plainGrid(lo*shrink, hi*shrink, bits, symmetric)
				e := 0.0
				for i, v := range part {
					_, back := plainRound(v, p, bits)
					e += (float64(v) - back) * (float64(v) - back) * h[(g+i)*k+g+i]
				}
				if e < least {
					best, least = p, e
				}
			}
			grids = append(grids, best)
			widest = append(widest, plainGrid(lo, hi, bits, symmetric))
		}
		inv := make([][]float64, k)
		work := make([]float64, k)
		for i := range inv {
			inv[i] = slices.Clone(inverse[i][k:])
			work[i] = float64(row[order[i]])
		}
		codes, nearest := make([]uint8, k), make([]uint8, k)
		for i, at := range order {
			c, back := plainRound(float32(work[i]), grids[at/group], bits)
			codes[at] = c
			nearest[at], _ = plainRound(row[at], widest[at/group], bits)
			err := (work[i] - back) / inv[i][i]
			for j := i + 1; j < k; j++ {
				work[j] -= err * inv[i][j]
			}
			for r := i + 1; r < k; r++ {
				f := inv[r][i] / inv[i][i]
				for j := i + 1; j < k; j++ {
					inv[r][j] -= f * inv[i][j]
				}
			}
		}
		if cost(row, codes, func(i int) quantize.Params { return grids[i/group] }) >= cost(row, nearest, func(i int) quantize.Params { return widest[i/group] }) {
			codes = nearest
		}
		all = append(all, codes)
	}
	return all
}

// correlated makes activations whose inputs depend on each other and differ in size.
func correlated(rng *rand.Rand, rows, k int) []float32 {
	mix := make([]float64, k*k)
	for i := range mix {
		mix[i] = rng.NormFloat64() * math.Exp(rng.NormFloat64()) / math.Sqrt(float64(k))
	}
	x := make([]float32, rows*k)
	for r := range rows {
		z := make([]float64, k)
		for i := range z {
			z[i] = rng.NormFloat64()
		}
		for i := range k {
			s := 0.3 * rng.NormFloat64()
			for j := range k {
				s += mix[i*k+j] * z[j]
			}
			x[r*k+i] = float32(s)
		}
	}
	return x
}

// TestGPTQAsReference compares every code with those of plainGPTQ.
func TestGPTQAsReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, c := range []struct {
		k, n, group, bits int
		symmetric         bool
	}{{32, 5, 32, 4, false}, {150, 20, 32, 4, true}, {200, 18, 16, 4, false}, {130, 3, 128, 8, false}, {300, 6, 64, 4, false}, {400, 4, 32, 4, true}, {17, 4, 32, 4, true}, {1, 2, 16, 4, false}} {
		w := make([]float32, c.n*c.k)
		for i := range w {
			w[i] = float32(rng.NormFloat64())
		}
		h := quantize.Hessian(correlated(rng, 2*c.k+10, c.k), c.k)
		codes, _, _, remark, err := quantize.RunGPTQ(w, c.k, c.n, c.group, c.bits, c.symmetric, h)
		if err != nil || remark != "" {
			t.Fatal(err, remark)
		}
		for j, want := range plainGPTQ(w, c.k, c.n, c.group, c.bits, c.symmetric, h) {
			if !slices.Equal(codes[j*c.k:(j+1)*c.k], want) {
				t.Errorf("%+v: output %d: %v, want %v", c, j, codes[j*c.k:(j+1)*c.k], want)
			}
		}
	}
}

// TestGPTQRecovers: a Hessian that is not positive definite gets more damping, and one that no damping mends is told of.
func TestGPTQRecovers(t *testing.T) {
	const k = 40
	w := make([]float32, k*3)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	unit := func(f func(i, j int) float64) []float64 {
		h := make([]float64, k*k)
		for i := range k {
			for j := range k {
				h[i*k+j] = f(i, j)
			}
		}
		return h
	}
	for name, c := range map[string]struct {
		h    []float64
		want string
	}{
		"one row of activations": {unit(func(i, j int) float64 { return float64(i+1) * float64(j+1) }), ""},
		"off by what rounding does": {unit(func(i, j int) float64 {
			if i == j {
				return 1
			}
			return -0.05
		}), "damping raised to 1"},
		"all zero": {make([]float64, k*k), "rounded to nearest: the Hessian of its activations is not positive definite at any damping"},
		"negative": {unit(func(i, j int) float64 { return -1 }), "rounded to nearest: the Hessian of its activations is not positive definite at any damping"},
		"an input that is never active": {unit(func(i, j int) float64 {
			if i != j || i == 7 {
				return 0
			}
			return 2
		}), ""},
	} {
		_, s, _, remark, err := quantize.RunGPTQ(w, k, 3, 32, 4, false, c.h)
		if err != nil || remark != c.want || slices.ContainsFunc(s, func(v float32) bool { return v-v != 0 }) {
			t.Errorf("%s: %v %q, want %q", name, err, remark, c.want)
		}
	}
}

// miniLMFeeds are the first n sentences, as inputs of MiniLM.
func miniLMFeeds(t *testing.T, n int) engine.Feeds {
	texts := sentences(t)[:n]
	return engine.Feeds{N: n, All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for _, ids := range texts {
				k := len(ids)
				f := engine.Feed{"input_ids": model.FromSlice([]int{1, k}, ids), "attention_mask": model.FromSlice([]int{1, k}, slices.Repeat([]int64{1}, k)),
					"token_type_ids": model.FromSlice([]int{1, k}, make([]int64, k))}
				if !yield(f, nil) {
					return
				}
			}
		}
	}}
}

// TestLayerErrorsOfMiniLM: on real weights with real activations GPTQ leaves no product with more error than rounding to
// nearest, AWQ neither. All weights take a minute: `make test-quantize`; else every ninth.
func TestLayerErrorsOfMiniLM(t *testing.T) {
	g := loadAsset(t, "M1/all-minilm-l6-v2.onnx")
	match := func(name string) bool { return strings.Contains(name, "MatMul") || strings.Contains(name, "768") }
	every, count := 9, 0
	if os.Getenv("WATTSHED_LONG") != "" {
		every = 1
	}
	errs, err := quantize.LayerErrors(context.Background(), g, quantize.WeightOnly{Feeds: miniLMFeeds(t, 24), Algorithm: quantize.GPTQ}, func(name string) bool {
		count++
		return match(name) && count%every == 0
	}, quantize.RTN, quantize.GPTQ, quantize.AWQ)
	if err != nil {
		t.Fatal(err)
	}
	var line []string
	for name, e := range errs {
		if e[1] > e[0] || e[2] > e[0] || e[0] <= 0 {
			t.Errorf("%s: rounded to nearest %.4g, GPTQ %.4g, AWQ %.4g", name, e[0], e[1], e[2])
		}
		line = append(line, fmt.Sprintf("%s: GPTQ %.3f, AWQ %.3f", name, e[1]/e[0], e[2]/e[0]))
	}
	slices.Sort(line)
	t.Log(len(errs), " weights, error against rounding to nearest:\n", strings.Join(line, "\n"))
	if len(errs) == 0 {
		t.Error("no weights")
	}
}
