package baseline

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// TestAgainstScikitLearn compares scores and probabilities with those of scikit-learn.
func TestAgainstScikitLearn(t *testing.T) {
	data, err := os.ReadFile("testdata/sklearn.json")
	if err != nil {
		t.Fatal(err)
	}
	var ref struct {
		Classes, Features int
		L2, Alpha         float64
		Labels            []int
		Counts            [][]int
		Bayes, Logistic   [][]float64
	}
	if err := json.Unmarshal(data, &ref); err != nil {
		t.Fatal(err)
	}
	s := Set{Labels: ref.Labels, Classes: ref.Classes, Features: ref.Features}
	for _, row := range ref.Counts {
		var ids []int64
		for id, n := range row {
			for range n {
				ids = append(ids, int64(id))
			}
		}
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		s.Bags = append(s.Bags, NewBag(ids))
	}
	nb, err := TrainNaiveBayes(s, ref.Alpha)
	if err != nil {
		t.Fatal(err)
	}
	lr, err := TrainLogistic(s, ref.L2)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range s.Bags {
		for c, got := range nb.Scores(b) {
			// the same sums of a few hundred logarithms in another order
			if want := ref.Bayes[i][c]; math.Abs(got-want) > 1e-11*math.Abs(want) {
				t.Errorf("naive Bayes, text %d, class %d: %v, want %v", i, c, got, want)
			}
		}
		for c, got := range lr.Probabilities(b) {
			// both stop short of the minimum: gradients below 1e-6 here, with curvature l2 = 0.01 at least 1e-4
			if want := ref.Logistic[i][c]; math.Abs(got-want) > 1e-4 {
				t.Errorf("logistic regression, text %d, class %d: %v, want %v", i, c, got, want)
			}
		}
	}
}

func TestMajority(t *testing.T) {
	s := Set{Bags: make([]Bag, 5), Labels: []int{1, 0, 1, 2, 0}, Classes: 3, Features: 1}
	m, err := TrainMajority(s)
	if err != nil || m.Class != 0 {
		t.Errorf("class %d, error %v, want 0: the lower of the two most frequent", m.Class, err)
	}
	if got := Accuracy(m, s); got != 0.4 {
		t.Errorf("accuracy %v, want 0.4", got)
	}
	if got := Outcomes(m, s); !slices.Equal(got, []bool{false, true, false, false, true}) {
		t.Errorf("outcomes %v", got)
	}
}

func TestNewBag(t *testing.T) {
	b := NewBag([]int64{7, 0, 3, 7, 1, -4, 7, 3}, 0, 1)
	if !slices.Equal(b.IDs, []int{3, 7}) || !slices.Equal(b.Counts, []float64{2, 3}) {
		t.Errorf("got %+v, want ids 3, 7 with counts 2, 3", b)
	}
}

func TestRefused(t *testing.T) {
	bag := NewBag([]int64{2})
	good := Set{Bags: []Bag{bag, bag}, Labels: []int{0, 1}, Classes: 2, Features: 3}
	for name, change := range map[string]func(*Set){
		"empty":           func(s *Set) { *s = Set{Classes: 2, Features: 3} },
		"labels too few":  func(s *Set) { s.Labels = s.Labels[:1] },
		"label too large": func(s *Set) { s.Classes = 1 },
		"label negative":  func(s *Set) { s.Labels = []int{0, -1} },
		"id too large":    func(s *Set) { s.Features = 2 },
		"no features":     func(s *Set) { s.Features = 0 },
	} {
		s := good
		change(&s)
		if _, err := TrainMajority(s); err == nil {
			t.Errorf("%s: TrainMajority: no error", name)
		}
		if _, err := TrainNaiveBayes(s, 1); err == nil {
			t.Errorf("%s: TrainNaiveBayes: no error", name)
		}
		if _, err := TrainLogistic(s, 1); err == nil {
			t.Errorf("%s: TrainLogistic: no error", name)
		}
	}
	for _, v := range []float64{0, -1, math.NaN()} {
		if _, err := TrainNaiveBayes(good, v); err == nil {
			t.Errorf("TrainNaiveBayes with alpha %v: no error", v)
		}
		if _, err := TrainLogistic(good, v); err == nil {
			t.Errorf("TrainLogistic with l2 %v: no error", v)
		}
	}
	nb, err := TrainNaiveBayes(good, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := nb.Predict(NewBag([]int64{99})); got != 0 {
		t.Errorf("a text of unknown ids is class %d, want 0", got)
	}
}

// TestElementary compares ln and exp with package math, which is right to the last place or next to it.
func TestElementary(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200000 {
		x := math.Ldexp(1+r.Float64(), r.IntN(200)-100)
		if got, want := ln(x), math.Log(x); math.Abs(got-want) > 2*ulp(want) {
			t.Fatalf("ln(%v) = %v, want %v", x, got, want)
		}
		y := r.Float64()*1400 - 700
		if got, want := exp(y), math.Exp(y); math.Abs(got-want) > 3*ulp(want) {
			t.Fatalf("exp(%v) = %v, want %v", y, got, want)
		}
	}
	for n := 1.0; n < 5000; n++ {
		if got, want := ln(n), math.Log(n); math.Abs(got-want) > 2*ulp(want) {
			t.Fatalf("ln(%v) = %v, want %v", n, got, want)
		}
	}
	if !math.IsInf(ln(0), -1) || !math.IsNaN(ln(-1)) || !math.IsNaN(exp(math.NaN())) || exp(-1e9) != 0 || !math.IsInf(exp(1e9), 1) || ln(1) != 0 || exp(0) != 1 {
		t.Error("ln or exp is wrong at an end of its range")
	}
}

func ulp(x float64) float64 { return math.Nextafter(math.Abs(x), math.Inf(1)) - math.Abs(x) }
