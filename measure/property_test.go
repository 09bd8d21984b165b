package measure

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestCounterTruth drives counters of random range and power through random loads, pauses and failed reads, with a simulator
// that knows the true energy. What is claimed never exceeds the truth by more than one count per read, and equals it where no gap is
// told. Every other trial has resets too: one that happens near the end of the range cannot be told from a wrap by anybody, so
// there the claim is only held to the power bound.
func TestCounterTruth(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	complete, gapped := 0, 0
	for trial := range 2000 {
		pmax := 50 + 400*rng.Float64()
		size := uint64(1+rng.IntN(60)) * 1_000_000_000 // 1 to 60 kJ in µJ
		c := counter{spec: counterSpec{rng: size, perJoule: MicroPerUnit, pmax: Watts(pmax), period: time.Millisecond, moves: true}}
		at, truth, raw := time.Duration(0), 0.0, rng.Uint64N(size)
		offset := raw
		start := 0.0
		var prev uint64
		for i := range 40 {
			var err error
			if rng.IntN(10) == 0 {
				err = errors.New("EIO")
			}
			if trial%2 == 1 && rng.IntN(50) == 0 { // the machine's firmware resets the counter
				offset, start = rng.Uint64N(1000), truth
			}
			raw = (offset + uint64((truth-start)*MicroPerUnit)) % size
			c.read(at, raw, err)
			if c.sum < prev {
				t.Fatalf("trial %d: energy falls", trial)
			}
			prev = c.sum
			if most := truth*MicroPerUnit + float64(i+1); trial%2 == 0 && float64(c.sum) > most || float64(c.sum) > max(most, c.bound(at)+0.1*MicroPerUnit*float64(i+1)) {
				t.Fatalf("trial %d read %d: %d µJ claimed, %.0f used", trial, i, c.sum, truth*MicroPerUnit)
			}
			dt := time.Duration(rng.Float64() * 0.4 * float64(size) / MicroPerUnit / pmax * float64(time.Second))
			at += dt
			truth += pmax * rng.Float64() * dt.Seconds()
		}
		c.read(at, (offset+uint64((truth-start)*MicroPerUnit))%size, nil)
		if gaps, status := c.state(); status == StatusOK {
			complete++
			if lost := truth*MicroPerUnit - float64(c.sum); trial%2 == 0 && (lost > 50 || lost < -50) { // µJ: truncation of each read
				t.Fatalf("trial %d: %v µJ lost without a gap", trial, lost)
			}
		} else if gapped++; len(gaps) == 0 {
			t.Fatalf("trial %d: status %s without a gap", trial, status)
		}
	}
	if complete < 100 || gapped < 100 {
		t.Errorf("%d complete and %d gapped trials: the simulation does not try both", complete, gapped)
	}
}

// TestRatioIgnoresGain: a counter that reads 0.5 to 2 times too much gives the same ratio of energies.
func TestRatioIgnoresGain(t *testing.T) {
	ratio := func(gain float64) Ratio {
		b := &bench{watts: 40 * gain, idle: 10 * gain}
		rng := rand.New(rand.NewPCG(3, 4))
		c, err := Compare(context.Background(), b.trial("a", 10*time.Millisecond, 4, 0.02, rng), []Trial{b.trial("b", 7*time.Millisecond, 4, 0.02, rng)}, b.protocol())
		if err != nil {
			t.Fatal(err)
		}
		return *c.Variants[0].EnergyRatio
	}
	want := ratio(1)
	for _, gain := range []float64{0.5, 0.97, 1.05, 2} {
		got := ratio(gain)
		for _, x := range [][2]float64{{got.Value, want.Value}, {got.CI95.Lo, want.CI95.Lo}, {got.CI95.Hi, want.CI95.Hi}} {
			if math.Abs(x[0]/x[1]-1) > 1e-5 { // blocks hold some 4 J in whole µJ
				t.Errorf("gain %v: %v, want %v", gain, got, want)
			}
		}
	}
}

// TestSensorAdditive: energy integrated from power is the same whether the readings are taken as one window or as many.
func TestSensorAdditive(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	s := powerSensor{hold: 2 * time.Second, limit: 4000}
	var sums []uint64
	at, truth, watts := time.Duration(0), 0.0, 100.0
	for i := range 500 {
		s.read(at, watts, nil)
		sums = append(sums, s.sum)
		dt := time.Duration(rng.IntN(1900)+1) * time.Millisecond
		next := 300 * rng.Float64()
		truth += (watts + next) / 2 * dt.Seconds() // power changes linearly: the trapezoid is exact
		at, watts = at+dt, next
		if i > 0 && sums[i] < sums[i-1] {
			t.Fatal("energy falls")
		}
	}
	s.read(at, watts, nil)
	if diff := math.Abs(float64(s.sum) - truth*MicroPerUnit); diff > 1 {
		t.Errorf("%v µJ off after 500 windows: the remainder below 1 µJ must be carried on", diff)
	}
}
