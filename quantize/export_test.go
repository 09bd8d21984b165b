package quantize

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
