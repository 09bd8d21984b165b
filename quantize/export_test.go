package quantize

import (
	"context"
	"errors"
	"io/fs"

	"github.com/wattshed/wattshed/model"
)

// QuantizeNBits quantizes a matrix, [n][k] or, with columns, [k][n], and returns codes, scales, zero points as they are
// stored, and the weights [n][k] that they stand for.
func QuantizeNBits(x []float32, k, n, group, bits int, symmetric, columns bool) (q []byte, s []float32, z []byte, w []float32, err error) {
	f := nbits{k, n, group, bits, symmetric}
	m, err := f.quantize(x, columns)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	w = make([]float32, n*k)
	for j := range n {
		m.output(w[j*k:(j+1)*k], j)
	}
	return m.q, m.s, f.packedZeros(m.z), w, nil
}

// Hessian returns the sums of x x^T over the rows of x, [rows][k], as the algorithms see them.
func Hessian(x []float32, k int) []float64 {
	m := newMoments(k)
	m.add(x, nil)
	m.flush(nil)
	return m.h
}

// RunGPTQ quantizes w, [n][k], and returns the codes [n][k], scales and the remark.
func RunGPTQ(w []float32, k, n, group, bits int, symmetric bool, h []float64) (codes []uint8, s []float32, z []uint8, remark string, err error) {
	f := nbits{k, n, group, bits, symmetric}
	b, _, remark, err := f.gptq(w, false, &moments{k: k, rows: k, h: h})
	if err != nil {
		return nil, nil, nil, "", err
	}
	codes = make([]uint8, n*k)
	for j := range n {
		b.codes(codes[j*k:(j+1)*k], j)
	}
	return codes, b.s, b.z, remark, nil
}

// Cholesky is cholesky.
func Cholesky(a []float64, n int) bool { return cholesky(a, n) }

// InverseFactor is inverseFactor.
func InverseFactor(h []float64, n int) ([]float64, bool) { return inverseFactor(h, n) }

// LayerErrors returns, by weight whose name match accepts, the squared error of the outputs for the activations that the
// feeds cause, with each of the algorithms: in float64, from the stored codes.
func LayerErrors(ctx context.Context, g *model.Graph, o WeightOnly, match func(string) bool, algorithms ...Algorithm) (map[string][]float64, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	out := map[string][]float64{}
	p := o.plan(g)
	for _, w := range p.weights {
		if !match(w.Name) {
			w.why = "not asked for"
		}
	}
	seen := &activations{by: map[string]*moments{}}
	for _, these := range p.passes(g) {
		if err := p.observe(ctx, g, these, seen); err != nil {
			return nil, err
		}
	}
	for _, w := range p.weights {
		if w.why != "" {
			continue
		}
		x, err := w.Tensor.Float32()
		if err != nil {
			return nil, err
		}
		s := w.forms[0]
		k, n := s.nbits.k, s.nbits.n
		m, why := seen.of(g, w, s)
		if m == nil {
			return nil, errors.New(why)
		}
		for _, a := range algorithms {
			p.Algorithm = a
			b, err := p.solve(w, s, x, seen)
			if err != nil {
				return nil, err
			}
			total := 0.0
			row, d := make([]float32, k), make([]float64, k)
			for j := range n {
				b.output(row, j)
				for i, v := range row {
					d[i] = float64(v)
					if s.inverse != nil {
						inv, _ := s.inverse.Float32()
						d[i] *= float64(inv[i])
					}
					d[i] -= float64(x[i*n+j])
				}
				for i, v := range d {
					total += v * dot(m.h[i*k:(i+1)*k], d)
				}
			}
			out[w.Name] = append(out[w.Name], total)
		}
	}
	return out, nil
}

// RunHQQ quantizes w, [n][k], and returns the weights that are stored.
func RunHQQ(w []float32, k, n, group, bits int, whole bool) ([]float32, error) {
	m, err := nbits{k: k, n: n, group: group, bits: bits}.hqq(w, false, whole)
	if err != nil {
		return nil, err
	}
	out := make([]float32, n*k)
	for j := range n {
		m.output(out[j*k:(j+1)*k], j)
	}
	return out, nil
}

// AvailableMemory is availableMemory.
func AvailableMemory(root fs.FS) int64 { return availableMemory(root) }

// Labour returns the units of work of a plan, those of its tables, and the part of its largest weight that is tried, [rows][cols].
func (s InMemory) Labour(ctx context.Context) (units, tables float64, part []float32, rows, cols int, err error) {
	_, l, err := s.check(ctx)
	return l.units, l.tables, l.part.x, l.part.rows, l.part.cols, err
}
