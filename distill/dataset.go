package distill

import (
	"context"
	"fmt"
	"sort"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// maxExampleBytes bounds what the examples may take in memory.
const maxExampleBytes = 16 << 30

// dataset holds the examples in memory, one row per example and name.
type dataset struct {
	n       int
	names   []string
	columns map[string]column
	length  []int // of every example: the largest first dimension among its rows
}

// column is the rows of one name: the bytes and the shape of each without the batch axis. All have the same rank and, beyond
// the first dimension, the same sizes.
type column struct {
	dtype  model.DType
	shapes [][]int
	rows   [][]byte
}

// loadDataset reads the named tensors of all Feeds and splits them along axis 0.
func loadDataset(ctx context.Context, feeds engine.Feeds, names []string) (*dataset, error) {
	d := &dataset{names: names, columns: map[string]column{}}
	total := 0
	for feed, err := range feeds.All() {
		if err != nil {
			return nil, fmt.Errorf("distill: examples: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := -1
		for _, name := range names {
			t := feed[name]
			if t == nil {
				return nil, fmt.Errorf("distill: example %d: no %q", d.n, name)
			}
			if t.Rank() < 1 || n >= 0 && t.Shape()[0] != n {
				return nil, fmt.Errorf("distill: example %d: %q has shape %v, want %d along axis 0", d.n, name, t.Shape(), n)
			}
			n = t.Shape()[0]
			if total += t.ByteSize(); total > maxExampleBytes {
				return nil, fmt.Errorf("distill: the examples are larger than %d bytes", maxExampleBytes)
			}
			col, err := d.columns[name].with(t)
			if err != nil {
				return nil, fmt.Errorf("distill: example %d: %q: %w", d.n, name, err)
			}
			d.columns[name] = col
		}
		d.n += max(n, 0)
	}
	if d.n == 0 {
		return nil, fmt.Errorf("distill: no examples")
	}
	d.length = make([]int, d.n)
	for _, name := range names {
		for i, s := range d.columns[name].shapes {
			if len(s) > 0 {
				d.length[i] = max(d.length[i], s[0])
			}
		}
	}
	return d, nil
}

// with appends the rows of t.
func (c column) with(t *model.Tensor) (column, error) {
	raw, err := t.Bytes()
	if err != nil {
		return c, err
	}
	shape := t.Shape()[1:]
	if c.rows == nil {
		c.dtype = t.DType()
	} else if first := c.shapes[0]; t.DType() != c.dtype || len(shape) != len(first) || len(shape) > 1 && !equal(shape[1:], first[1:]) {
		return c, fmt.Errorf("%s of shape %v after %s of shape %v", t.DType(), shape, c.dtype, first)
	}
	if c.dtype.Bits()%8 != 0 {
		return c, fmt.Errorf("%s: %w", c.dtype, model.ErrUnsupported)
	}
	n := t.Shape()[0]
	for i := range n {
		size := len(raw) / n
		c.rows = append(c.rows, raw[i*size:(i+1)*size])
		c.shapes = append(c.shapes, shape)
	}
	return c, nil
}

func equal(a, b []int) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// add adds a column of n rows.
func (d *dataset) add(name string, c column) {
	d.names = append(d.names, name)
	d.columns[name] = c
}

// feed joins the given examples, filling shorter ones up with zeros at the end.
func (d *dataset) feed(rows []int) engine.Feed {
	out := engine.Feed{}
	for _, name := range d.names {
		c := d.columns[name]
		shape := append([]int{len(rows)}, c.shapes[rows[0]]...)
		size := 0
		for _, r := range rows {
			if len(shape) > 1 {
				shape[1] = max(shape[1], c.shapes[r][0])
			}
			size = max(size, len(c.rows[r]))
		}
		raw := make([]byte, size*len(rows))
		for i, r := range rows {
			copy(raw[i*size:], c.rows[r])
		}
		t, err := model.NewTensor(c.dtype, shape, raw)
		if err != nil {
			panic("distill: " + err.Error()) // the columns have been checked
		}
		out[name] = t
	}
	return out
}

// windowBatches is the number of batches among which examples are sorted by length.
const windowBatches = 16

// batches returns the examples of an epoch in batches, a function of seed and epoch alone: shuffled, sorted by length within windows
// of some batches so that little is filled up, longest first within a batch, and the batches shuffled again.
func (d *dataset) batches(seed uint64, epoch, size int) [][]int {
	r := newRandom(seed, streamOrder+uint64(epoch))
	order := r.permutation(d.n)
	var out [][]int
	for lo := 0; lo < d.n; lo += size * windowBatches {
		out = append(out, d.cut(order[lo:min(d.n, lo+size*windowBatches)], size)...)
	}
	shuffled := make([][]int, len(out))
	for i, k := range r.permutation(len(out)) {
		shuffled[i] = out[k]
	}
	return shuffled
}

// byLength returns all examples in batches, longest first.
func (d *dataset) byLength(size int) [][]int {
	order := make([]int, d.n)
	for i := range order {
		order[i] = i
	}
	return d.cut(order, size)
}

// cut sorts rows by length, longest first, and splits them.
func (d *dataset) cut(rows []int, size int) [][]int {
	sort.SliceStable(rows, func(a, b int) bool { return d.length[rows[a]] > d.length[rows[b]] })
	var out [][]int
	for lo := 0; lo < len(rows); lo += size {
		out = append(out, rows[lo:min(len(rows), lo+size)])
	}
	return out
}

// apply hides words of a feed that belongs to the caller alone.
func (w WordDropout) apply(feed engine.Feed, r random) error {
	if w.Rate == 0 {
		return nil
	}
	name := w.Input
	if name == "" {
		name = InputIDs
	}
	t := feed[name]
	if t == nil || t.DType() != model.Int64 {
		return fmt.Errorf("word dropout: the examples have no int64 %q", name)
	}
	ids, err := model.Data[int64](t)
	if err != nil {
		return err
	}
	limit := uint64(float64(w.Rate) * (1 << 32))
	for i, id := range ids {
		if id != 0 && r.Uint64()>>32 < limit {
			ids[i] = w.ID
		}
	}
	return nil
}
