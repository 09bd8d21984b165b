package kernel

// blockClass is the outputs lo to hi along one dimension, which meet the kernel elements klo to khi inside the input;
// count are those inside the stated padding.
type blockClass struct{ lo, hi, klo, khi, count int }

// blockRun is the taps of a pair of classes.
type blockRun struct{ lo, hi, k int }

// classes appends the classes of one dimension.
func classes(list []blockClass, in, out, kernel, stride, dilation, before, after int) []blockClass {
	first := len(list)
	for o := range out {
		at := o*stride - before
		c := blockClass{lo: o, hi: o + 1}
		if at < 0 {
			c.klo = min(kernel, ceilDiv(-at, dilation))
		}
		if at < in {
			c.khi = min(kernel, ceilDiv(in-at, dilation))
		}
		c.khi = max(c.khi, c.klo)
		if at < in+after {
			c.count = min(kernel, ceilDiv(in+after-at, dilation))
		}
		if n := len(list); n > first {
			if l := &list[n-1]; l.klo == c.klo && l.khi == c.khi && l.count == c.count {
				l.hi++
				continue
			}
		}
		list = append(list, c)
	}
	return list
}

// geometry fills in classes and taps.
func (j *blockJob) geometry() {
	g := &j.g
	j.rows = classes(j.rows, g.H, g.OH, g.KH, g.SH, g.DH, g.Top, g.Bottom)
	j.cols = classes(j.cols, g.W, g.OW, g.KW, g.SW, g.DW, g.Left, g.End)
	step := ChannelBlock // of weights from one kernel element to the next
	switch {
	case j.pool, j.scale, j.kind == blockMax:
		step = 0
	case j.kind == blockDense:
		step *= j.w.step
	}
	for _, r := range j.rows {
		for _, c := range j.cols {
			run := blockRun{lo: len(j.taps)}
			last := c.khi
			if j.px == 1 && g.DW == 1 && c.khi > c.klo { // the elements of a kernel row lie side by side, in the image and in the weights
				run.k, last = c.khi-c.klo, c.klo+1
			} else {
				run.k = 1
			}
			for kh := r.klo; kh < r.khi; kh++ {
				for kw := c.klo; kw < last; kw++ {
					j.taps = append(j.taps, blockTap{(kh*g.DH*g.W + kw*g.DW) * j.px, (kh*g.KW + kw) * step})
				}
			}
			run.hi = len(j.taps)
			j.runs = append(j.runs, run)
		}
	}
}
