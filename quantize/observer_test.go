package quantize_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/quantize"
)

// batches are values of several distributions, in batches of growing magnitude, so that histograms must widen.
func batches(family string, seed uint64) [][]float32 {
	rng := rand.New(rand.NewPCG(seed, 7))
	var all [][]float32
	for b := range 12 {
		x := make([]float32, 500+100*b)
		for i := range x {
			v := rng.NormFloat64() * math.Exp2(float64(b%5)-3)
			switch family {
			case "relu":
				v = max(v, 0)
			case "outliers":
				if rng.IntN(1000) == 0 {
					v *= 50
				}
			case "negative":
				v = -math.Abs(v) - 0.25
			}
			x[i] = float32(v)
		}
		all = append(all, x)
	}
	return all
}

// TestObserversIgnoreOrder: the order of batches, and of values within them, does not change a range, but for the
// rounding of the moving average's sums.
func TestObserversIgnoreOrder(t *testing.T) {
	for _, method := range quantize.Methods {
		for _, family := range []string{"normal", "relu", "outliers", "negative"} {
			t.Run(fmt.Sprint(method, "/", family), func(t *testing.T) {
				x := batches(family, 1)
				var first [2]float32
				for k := range 5 {
					o, err := quantize.Static{Method: method}.NewObserver()
					if err != nil {
						t.Fatal(err)
					}
					for _, b := range x {
						o.Observe(b)
					}
					lo, hi := o.Range()
					if k == 0 {
						first = [2]float32{lo, hi}
					}
					tolerance := 0.0
					if method == quantize.MovingAverage {
						tolerance = 1e-6 * float64(first[1]-first[0])
					}
					if math.Abs(float64(lo-first[0])) > tolerance || math.Abs(float64(hi-first[1])) > tolerance {
						t.Errorf("order %d: %v to %v, first %v", k, lo, hi, first)
					}
					rand.New(rand.NewPCG(uint64(k), 1)).Shuffle(len(x), func(i, j int) { x[i], x[j] = x[j], x[i] })
				}
			})
		}
	}
}

// quantile is that of numpy.quantile with method "lower", on the sorted values.
func quantile(x []float32, q float64) float32 { return x[int(math.Floor(q*float64(len(x)-1)))] }

// TestPercentileOfValues compares with the quantiles of the sorted values.
func TestPercentileOfValues(t *testing.T) {
	for _, family := range []string{"normal", "relu", "outliers", "negative"} {
		x := batches(family, 2)
		all := slices.Sorted(slices.Values(slices.Concat(x...)))
		most := max(math.Abs(float64(all[0])), math.Abs(float64(all[len(all)-1])))
		for _, p := range []float64{90, 99, 99.9, 100} {
			o, err := quantize.Static{Method: quantize.Percentile, Percentile: p}.NewObserver()
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range x {
				o.Observe(b)
			}
			lo, hi := o.Range()
			wantLo, wantHi := quantile(all, (1-p/100)/2), quantile(all, 1-(1-p/100)/2)
			// a bin is a 2048th of the next power of two, at most twice the largest magnitude; the rank is off by one at most,
			// and neighbouring values in the tails are up to a few bins apart
			bin := 2 * most / 2048
			if math.Abs(float64(lo-wantLo)) > 8*bin || math.Abs(float64(hi-wantHi)) > 8*bin {
				t.Errorf("%s %v: %v to %v, want %v to %v", family, p, lo, hi, wantLo, wantHi)
			}
		}
	}
}

// TestMeanSquares: no range of a fine grid has a mean squared error, computed from the values themselves, that is clearly
// less than that of the range chosen.
func TestMeanSquares(t *testing.T) {
	for _, family := range []string{"normal", "relu", "outliers"} {
		x := batches(family, 3)
		all := slices.Concat(x...)
		o, err := quantize.Static{Method: quantize.MSE}.NewObserver()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range x {
			o.Observe(b)
		}
		cost := func(lo, hi float32) float64 {
			p, err := quantize.ChooseParams(lo, hi, quantize.Uint8Range, false)
			if err != nil {
				t.Fatal(err)
			}
			_, back := thereAndBack[uint8](all, p, quantize.Uint8Range)
			sum := 0.0
			for i, v := range all {
				sum += float64(v-back[i]) * float64(v-back[i])
			}
			return sum
		}
		lo, hi := o.Range()
		got := cost(lo, hi)
		l, h := extremes(all)
		least := math.Inf(1)
		for i := 4; i <= 20; i++ {
			for j := 4; j <= 20; j++ {
				least = min(least, cost(l*float32(i)/20, h*float32(j)/20))
			}
		}
		// the search works on bins and shrinks one end after the other: a twentieth above the best of the grid is its error
		if got > 1.05*least {
			t.Errorf("%s: %v to %v has %g, the best of the grid %g", family, lo, hi, got, least)
		}
	}
}

// TestEntropyClipsOutliers: rare values far out are cut off, a plain range is kept nearly whole.
func TestEntropyClipsOutliers(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	observe := func(far float32) (lo, hi float32) {
		o, err := quantize.Static{Method: quantize.Entropy}.NewObserver()
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 200000)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		x[17], x[18] = far, -far
		o.Observe(x)
		return o.Range()
	}
	if lo, hi := observe(40); hi > 20 || lo < -20 || hi < 3 || lo > -3 {
		t.Errorf("outliers at 40: %v to %v", lo, hi)
	}
	if lo, hi := observe(0); hi < 2.5 || lo > -2.5 {
		t.Errorf("no outliers: %v to %v", lo, hi)
	}
}

// TestObserverCorners: nothing, zeros, one value and the smallest and largest numbers.
func TestObserverCorners(t *testing.T) {
	for _, method := range quantize.Methods {
		for _, c := range []struct {
			x      []float32
			lo, hi float32
		}{
			{nil, 0, 0}, {[]float32{0, 0, 0}, 0, 0}, {[]float32{3}, 3, 3}, {[]float32{-0x1p-149, 0x1p-149}, -0x1p-149, 0x1p-149},
			{[]float32{-math.MaxFloat32, math.MaxFloat32}, -math.MaxFloat32, math.MaxFloat32},
		} {
			o, err := quantize.Static{Method: method}.NewObserver()
			if err != nil {
				t.Fatal(err)
			}
			o.Observe(c.x)
			o.Observe(nil)
			lo, hi := o.Range()
			if !(lo >= c.lo && hi <= c.hi && lo <= hi) {
				t.Errorf("%s of %v: %v to %v", method, c.x, lo, hi)
			}
			if _, err := quantize.ChooseParams(lo, hi, quantize.Uint8Range, false); err != nil {
				t.Errorf("%s of %v: %v", method, c.x, err)
			}
		}
	}
}

// FuzzCalibration: bytes from outside neither panic nor make ranges that cannot be used, and what was read is written
// as the same bytes again.
func FuzzCalibration(f *testing.F) {
	c := quantize.Calibration{Method: quantize.MinMax, Source: "3 runs", Runs: 3, Ranges: map[string]quantize.Interval{"x": {Lo: -1, Hi: 2.5}, "y": {}}}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"schema":"wattshed.calibration/1","ranges":{"x":[1e39,2]}}`))
	f.Add([]byte(`{"schema":"wattshed.calibration/1","ranges":{"x":[2,1]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		c, err := quantize.ReadCalibration(bytes.NewReader(data))
		if err != nil {
			return
		}
		for name, r := range c.Ranges {
			if _, err := quantize.ChooseParams(r.Lo, r.Hi, quantize.Uint8Range, false); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
		var one, two bytes.Buffer
		if err := c.Write(&one); err != nil {
			t.Fatal(err)
		}
		again, err := quantize.ReadCalibration(bytes.NewReader(one.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Write(&two); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%v: %s, then %s", err, one.Bytes(), two.Bytes())
		}
	})
}
