package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// wide returns the numbers of t as float64, in memory that counts towards Options.Memory; it must not be changed.
func (c *Call) wide(t *model.Tensor) ([]float64, error) {
	switch t.DType() {
	case model.Float64:
		return model.Data[float64](t)
	case model.Float32:
		x, err := model.Data[float32](t)
		if err != nil {
			return nil, err
		}
		out := Scratch[float64](c, len(x))
		for i, v := range x {
			out[i] = float64(v)
		}
		return out, nil
	}
	if err := c.arena.room(8 * t.Len()); err != nil {
		return nil, err
	}
	return toFloat64(t)
}

// toFloat64 is toFloat64 of an operator that computes in float64 outside of the recycled memory: what it reads, what it makes
// and the copy in the type of the output count towards Options.Memory.
func (c *Call) toFloat64(t *model.Tensor) ([]float64, error) {
	if err := c.arena.room(20 * t.Len()); err != nil {
		return nil, err
	}
	return toFloat64(t)
}

// canceled returns the error of a run that was cancelled; nil while constants are folded.
func (c *Call) canceled() error {
	if c.eval == nil || c.eval.ctx == nil {
		return nil
	}
	return c.eval.ctx.Err()
}

// result makes output i of numbers that were computed in float64.
func (c *Call) result(i int, d model.DType, shape []int, v []float64) error {
	switch d {
	case model.Float32:
		out, err := Out[float32](c, i, shape)
		if err != nil {
			return err
		}
		for k, e := range v {
			out[k] = float32(e)
		}
		return nil
	case model.Float64:
		out, err := Out[float64](c, i, shape)
		if err != nil {
			return err
		}
		copy(out, v)
		return nil
	}
	if err := c.arena.room(12 * len(v)); err != nil {
		return err
	}
	t, err := fromFloat64(d, shape, v, castRule{})
	if err == nil {
		c.Set(i, t)
	}
	return err
}

// zeros returns n zeros of the call's own memory; a count that overflows or is too large is an error.
func (c *Call) zeros(shape ...int) ([]float64, error) {
	n, err := model.NumElements(shape)
	if err != nil {
		return nil, err
	}
	if err := c.arena.room(8 * n); err != nil {
		return nil, fmt.Errorf("shape %v: %w", shape, err)
	}
	v := Scratch[float64](c, n)
	clear(v)
	return v, nil
}

// forkTime is the time in nanoseconds below which each leaves a loop to one thread. To fork and join costs 0.2 to 0.8 us while the other thread spins,
// as it mostly does during a run, and up to 14 us when it has to be woken on a busy machine (AMD EPYC Zen 4, 2 vCPU): a loop of 13 or 21 us that is
// forked takes 0.7 of that time, or 1.6 of it; from 35 us on it is no slower either way.
const forkTime = 25_000

// each calls f for 0 to n-1, on the threads of the session if that takes forkTime or more on one, and stops early when the run is cancelled. One f is
// thought to take time nanoseconds: by its shapes, so that what is forked does not depend on the machine; about one for a multiply-add in plain Go.
func (c *Call) each(n, time int, f func(i int)) error {
	if time >= (forkTime+n-1)/max(n, 1) {
		c.pool.Run(n, f)
		return c.canceled()
	}
	for i := 0; i < n && !c.pool.Stopped(); i++ {
		f(i)
	}
	return c.canceled()
}
