package kernel

// Batch is a set of products of the same shape, MatMulF32 each, at offsets into three slices: attention heads, or the
// leading dimensions of a tensor (an offset may repeat in A and B: broadcasting). All three offset slices have the same length.
type Batch struct {
	M, N, K          int
	A, B, C          []float32
	OffA, OffB, OffC []int
	LdA, LdB, LdC    int
	TransA, TransB   bool
	Epilogue         Epilogue // BiasM and Residual must be nil
}

// BatchMatMulF32 computes all products of x. The parts of C must not overlap. With at least as many products as threads each
// thread takes whole ones; fewer are computed one after the other, each on all threads.
func BatchMatMulF32(p *Pool, x *Batch) {
	n := len(x.OffC)
	if len(x.OffA) != n || len(x.OffB) != n {
		panic(badLen)
	}
	if x.Epilogue.BiasM != nil || x.Epilogue.Residual != nil {
		panic("kernel: a batch takes no row bias and no residual")
	}
	inner := p
	if n >= p.Threads() || 2*x.M*x.N*x.K < forkFlops {
		inner = nil
	}
	one := func(i int) {
		MatMulF32(inner, x.M, x.N, x.K, x.A[x.OffA[i]:], x.LdA, x.TransA, x.B[x.OffB[i]:], x.LdB, x.TransB, x.C[x.OffC[i]:], x.LdC, x.Epilogue)
	}
	if inner == nil && 2*n*x.M*x.N*x.K >= forkFlops {
		p.Run(n, one)
		return
	}
	for i := range n {
		one(i)
	}
}
