package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// opEmbedLayerNorm is the embedding layer of BERT: input_ids, segment_ids, word_embedding, position_embedding,
// segment_embedding, gamma, beta, mask, position_ids. Output 0 is LayerNorm of the sum of the rows that are looked up,
// output 1 counts the ones of each row of the mask, output 2 is the sum.
func opEmbedLayerNorm(c *Call) error {
	it, err := c.Need(0)
	if err != nil {
		return err
	}
	if it.Rank() != 2 {
		return errShape("input_ids", it, "[batch sequence]")
	}
	batch, seq := it.Shape()[0], it.Shape()[1]
	type table struct {
		rows, n int
		v       []float32
		at      func(i int) int
		name    string
	}
	var tables []table
	width := 0
	add := func(in int, name string, at func(i int) int) error {
		t, err := c.Need(in)
		if err != nil {
			return err
		}
		v, rows, n, err := rowsOf(t)
		if err != nil {
			return err
		}
		if t.Rank() != 2 || width > 0 && n != width {
			return errShape(name, t, fmt.Sprintf("[rows %d]", width))
		}
		width = n
		tables = append(tables, table{rows, n, v, at, name})
		return nil
	}
	indices := func(t *model.Tensor, name string) (func(i int) int, error) {
		v, err := ints(t)
		if err != nil {
			return nil, err
		}
		if len(v) == batch*seq {
			return func(i int) int { return v[i] }, nil
		}
		if len(v) == seq && seq > 0 {
			return func(i int) int { return v[i%seq] }, nil
		}
		return nil, errShape(name, t, fmt.Sprintf("[%d %d]", batch, seq))
	}
	words, err := indices(it, "input_ids")
	if err != nil {
		return err
	}
	position := func(i int) int { return i % seq }
	if t := c.Arg(8); t != nil {
		if position, err = indices(t, "position_ids"); err != nil {
			return err
		}
	}
	if err := add(2, "word_embedding", words); err != nil {
		return err
	}
	if err := add(3, "position_embedding", position); err != nil {
		return err
	}
	if t := c.Arg(1); t != nil {
		segments, err := indices(t, "segment_ids")
		if err != nil {
			return err
		}
		if err := add(4, "segment_embedding", segments); err != nil {
			return err
		}
	}
	affine, err := vectors[float32](c, width, 5, 6)
	if err != nil {
		return err
	}
	shape := []int{batch, seq, width}
	dst, err := Out[float32](c, 0, shape)
	if err != nil {
		return err
	}
	sum := dst
	if c.Wants(2) {
		if sum, err = Out[float32](c, 2, shape); err != nil {
			return err
		}
	}
	for i := range batch * seq {
		d := sum[i*width : (i+1)*width]
		for k, t := range tables {
			row := t.at(i)
			if row < 0 || row >= t.rows {
				return fmt.Errorf("index %d is outside of %s, which has %d rows", row, t.name, t.rows)
			}
			if e := t.v[row*width : (row+1)*width]; k == 0 {
				copy(d, e)
			} else {
				kernel.Add(d, d, e)
			}
		}
	}
	rowsParallel(c.pool, batch*seq, 4*width, func(lo, hi int) {
		kernel.LayerNormRows(dst[lo*width:hi*width], sum[lo*width:hi*width], nil, nil, affine[0], affine[1], hi-lo, width,
			c.Node.Float("epsilon", 1e-12), nil, nil)
	})
	return countMask(c, batch, seq)
}

// countMask makes output 1 of opEmbedLayerNorm.
func countMask(c *Call, batch, seq int) error {
	if !c.Wants(1) {
		return nil
	}
	count, err := Out[int32](c, 1, []int{batch})
	if err != nil {
		return err
	}
	clear(count)
	t := c.Arg(7)
	if t == nil {
		return nil
	}
	mask, err := ints(t)
	if err != nil {
		return err
	}
	if len(mask) != batch*seq {
		return errShape("mask", t, fmt.Sprintf("[%d %d]", batch, seq))
	}
	for i, v := range mask {
		if v == 1 {
			count[i/seq]++
		}
	}
	return nil
}
