package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/measure"
)

// wav is a WAVE file of the samples, with a chunk before the data that is to be passed over.
func wav(rate uint32, samples ...int16) []byte {
	le := binary.LittleEndian
	b := append([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00"), 1, 0, 1, 0)
	b = le.AppendUint32(b, rate)
	b = le.AppendUint32(b, 2*rate)
	b = append(b, 2, 0, 16, 0)
	b = append(b, "LIST\x03\x00\x00\x00abc\x00data"...)
	b = le.AppendUint32(b, uint32(2*len(samples)))
	for _, s := range samples {
		b = le.AppendUint16(b, uint16(s))
	}
	return b
}

func TestReadWAV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.wav")
	for _, c := range []struct {
		b    []byte
		want int
	}{{wav(rate, 16384, -32768, 0), 3}, {wav(8000, 1), -1}, {[]byte("RIFF"), -1}, {wav(rate)[:30], -1}, {wav(rate, 1, 2)[:len(wav(rate, 1, 2))-1], 1}} {
		if err := os.WriteFile(path, c.b, 0o666); err != nil {
			t.Fatal(err)
		}
		x, err := readWAV(path)
		if (err != nil) != (c.want < 0) || err == nil && len(x) != c.want {
			t.Errorf("%q: %v, %v", c.b, x, err)
		}
		if c.want == 3 && (x[0] != 0.5 || x[1] != -1) {
			t.Errorf("%v", x)
		}
	}
}

// TestHead: the gradient of the loss vanishes at the trained weights, by central differences, and three clouds of points are told apart.
func TestHead(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var x [][]float64
	var list []article
	for i := range 60 {
		v := []float64{rng.NormFloat64() / 4, rng.NormFloat64() / 4, rng.NormFloat64() / 4}
		v[i%3]++
		x, list = append(x, v), append(list, article{topic: i % 3})
	}
	w := trainHead(x, list, 3)
	right := 0
	for i, v := range x {
		p := probabilities(w, v)
		if p[i%3] > 0.5 {
			right++
		}
	}
	if right < 57 {
		t.Errorf("%d of 60 right", right)
	}
	loss := func() (sum float64) {
		for i, v := range x {
			sum -= math.Log(probabilities(w, v)[i%3]) / float64(len(x))
		}
		for _, row := range w {
			for _, f := range row[:3] {
				sum += 1e-3 / 2 * f * f
			}
		}
		return sum
	}
	for k := range w {
		for j := range w[k] {
			const h = 1e-5
			old := w[k][j]
			w[k][j] = old + h
			up := loss()
			w[k][j] = old - h
			down := loss()
			w[k][j] = old
			if g := (up - down) / (2 * h); math.Abs(g) > 1e-4 { // the steps end near the minimum, not at it
				t.Errorf("weight %d of class %d: gradient %g", j, k, g)
			}
		}
	}
}

func TestTable(t *testing.T) {
	base := []float64{1, 1, 1, 1, 0, 1, 1, 1, 1, 1}
	own := []float64{1, 1, 1, 0, 0, 1, 1, 1, 1, 1}
	v, ci := proportion(base)
	d, dci, err := paired(base, own)
	if err != nil || v != 0.9 || math.Abs(d+0.1) > 1e-12 || dci.Lo > d || dci.Hi < d {
		t.Fatal(v, d, dci, err)
	}
	if a, aci, _ := agreed(nil, own); math.Abs(a+0.2) > 1e-12 || aci.Hi > 0 {
		t.Error(a, aci)
	}
	rows := []row{
		{task: "t", metric: "accuracy", variant: "fp32", by: "-", runtime: "native", bytes: 8, first: 8, value: v, ci: ci, n: 10, base: true},
		{task: "t", metric: "accuracy", variant: "int8", by: "wattshed", runtime: "native", bytes: 2, first: 8, value: 0.8, less: d, lessCI: dci, limit: 0.05, n: 10},
		{task: "t", variant: "int8", by: "onnxruntime.quantization", runtime: "ort", failed: "no\nsuch thing", n: 10},
		{task: "cosine", variant: "int4-rtn", by: "wattshed", runtime: "native", value: 0.97, first: 1},
		{task: "cosine", variant: "int4-gptq", by: "wattshed", runtime: "native", value: 0.985, first: 1, lessCI: measure.Interval{}},
		{task: "topics", variant: "int4-rtn", by: "wattshed", runtime: "native", value: 0.9, first: 1},
		{task: "topics", variant: "int4-gptq", by: "wattshed", runtime: "native", value: 0.92, first: 1},
		{task: "sts", variant: "int4-rtn", by: "wattshed", runtime: "native", value: 0.85, less: -0.02, lessCI: measure.Interval{Lo: -0.03, Hi: -0.01}, first: 1},
		{task: "sts", variant: "int4-awq", by: "wattshed", runtime: "native", value: 0.858, less: -0.012, first: 1},
		{task: "sts", variant: "int4-rtn", by: "wattshed", runtime: "ort", value: 0.87, less: 0.001, lessCI: measure.Interval{Lo: -0.001, Hi: 0.002}, first: 1},
		{task: "sts", variant: "int4-awq", by: "wattshed", runtime: "ort", value: 0.86, less: -0.01, first: 1},
	}
	var b bytes.Buffer
	if err := table(&b, rows); err != nil {
		t.Fatal(err)
	}
	for _, once := range []string{"int4-gptq closes", "int4-awq closes 40 %"} {
		if n := strings.Count(b.String(), once); n != 1 {
			t.Errorf("%q stands there %d times:\n%s", once, n, &b)
		}
	}
	for _, want := range []string{"(ort), so that there is nothing to close", "| 0.250 |", "0.050: NO", "| fails |", "no such thing", "int4-gptq closes 50 %"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}
