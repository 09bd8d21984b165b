package reports

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// The chart of operators has the measured time of a run, whatever the few profiled runs took, and says how many they were and where
// they differ.
func TestOpTimesAgreeWithLatency(t *testing.T) {
	r := demoResult()
	for i := range r.Variants {
		run, _ := timesOf(r, &r.Variants[i])
		for j := range r.Variants[i].Profile {
			o := &r.Variants[i].Profile[j]
			if o.Seconds = o.Share * run.Own; i == 1 {
				o.Seconds *= 3
			}
			o.N, o.CI95 = 16, &Interval{o.Seconds * 0.96, o.Seconds * 1.04}
		}
	}
	p := plotOpTime(r)
	for _, want := range []string{"n = 16 profiled runs per variant", "intervals of ±4 % at most", "differ from the measured time by more than 10 % for fp16 "} {
		if !strings.Contains(p.caption, want) {
			t.Errorf("the caption lacks %q: %s", want, p.caption)
		}
	}
	if strings.Contains(p.caption, "int8") {
		t.Errorf("a variant whose sum is its time is named: %s", p.caption)
	}
	var svg bytes.Buffer
	if err := p.SVG(&svg); err != nil {
		t.Fatal(err)
	}
	for i := range r.Variants {
		v := &r.Variants[i]
		run, ok := timesOf(r, v)
		if sum, half := profiled(v); !ok || math.Abs(half/sum-0.04) > 1e-9 || i == 1 && sum < 2.9*run.Own {
			t.Errorf("%s: %v ± %v of operators", v.Name, sum, half)
		}
		if !strings.Contains(svg.String(), ">"+show(run.Own, "s")+"<") {
			t.Errorf("%s: the bar is not that of %s", v.Name, show(run.Own, "s"))
		}
	}
	s := profileSection(r)
	if row := s.Rows[0]; !strings.HasSuffix(row[4], " (n = 16)") || !strings.Contains(row[4], " ± ") {
		t.Errorf("the table has no spread: %q", row)
	}
	for i := range r.Variants { // a result without times: the sums themselves
		r.Variants[i].Latency = nil
	}
	if p := plotOpTime(r); p.Missing != "" || strings.Contains(p.caption, "differ") {
		t.Errorf("%q, %s", p.Missing, p.caption)
	}
}

// A simple method that scores better is said to beat the model only where their intervals lie apart.
func TestBeats(t *testing.T) {
	r := demoResult()
	a := r.Variants[0].Accuracy
	a.Value, a.CI95 = 0.97, &Interval{0.96, 0.98}
	r.Task.Baselines = []TaskBaseline{{Name: "near", Value: 0.975, CI95: &Interval{0.965, 0.985}, N: 9}, {Name: "far", Value: 0.99, CI95: &Interval{0.985, 0.995}, N: 9}, {Name: "worse", Value: 0.9, N: 9}}
	notes := strings.Join(taskSection(r).Notes, "\n")
	if want := "near scores better than the model on this task; by their intervals the two may be equal.\nfar beats the model on this task."; notes != want {
		t.Errorf("%q, want %q", notes, want)
	}
}
