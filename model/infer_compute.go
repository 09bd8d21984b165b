package model

// inferRuleCompute holds the operators that multiply: products, convolutions, pooling, recurrences, and the
// quantized forms.
func inferRuleCompute(op string) func(c *inferCall) {
	switch op {
	case "MatMul":
		return func(c *inferCall) { c.set(0, c.dtype(0), c.matmul(c.shape(0), c.shape(1))) }
	case "MatMulInteger":
		return func(c *inferCall) { c.set(0, Int32, c.matmul(c.shape(0), c.shape(1))) }
	case "QLinearMatMul":
		return func(c *inferCall) { c.set(0, c.dtype(7), c.matmul(c.shape(0), c.shape(3))) }
	case "Gemm":
		return inferGemm
	case "Conv":
		return func(c *inferCall) { c.set(0, c.dtype(0), c.conv(c.shape(0), c.shape(1))) }
	case "ConvInteger":
		return func(c *inferCall) { c.set(0, Int32, c.conv(c.shape(0), c.shape(1))) }
	case "QLinearConv":
		return func(c *inferCall) { c.set(0, c.dtype(7), c.conv(c.shape(0), c.shape(3))) }
	case "ConvTranspose":
		return inferConvTranspose
	case "AveragePool", "MaxPool", "LpPool":
		return inferPool
	case "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool":
		return inferGlobalPool
	case "LSTM", "GRU", "RNN":
		return inferRecurrent
	case "QuantizeLinear":
		return inferQuantize
	case "DequantizeLinear":
		return inferDequantize
	case "DynamicQuantizeLinear":
		return func(c *inferCall) {
			c.set(0, Uint8, c.shape(0))
			c.set(1, Float32, Shape{})
			c.set(2, Uint8, Shape{})
		}
	}
	return nil
}

// inferRuleMicrosoft holds operators of domain com.microsoft that quantized and fused models use.
func inferRuleMicrosoft(op string) func(c *inferCall) {
	switch op {
	case "DynamicQuantizeLSTM":
		return inferRecurrent
	case "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax":
		return inferUnary
	case "QLinearGlobalAveragePool":
		return inferGlobalPool
	case "QLinearAveragePool":
		return func(c *inferCall) { c.set(0, c.dtype(0), nil) }
	case "QLinearAdd", "QLinearMul":
		return func(c *inferCall) { c.set(0, c.dtype(0), c.broadcast(c.shape(0), c.shape(3))) }
	case "QLinearConcat":
		return func(c *inferCall) { c.set(0, c.dtype(2), nil) }
	case "DynamicQuantizeMatMul", "MatMulIntegerToFloat":
		return func(c *inferCall) {
			dt := c.dtype(0)
			if !dt.IsFloat() {
				dt = c.dtype(2)
			}
			c.set(0, dt, c.matmul(c.shape(0), c.shape(1)))
		}
	case "QuantizeLinear":
		return inferQuantize
	case "DequantizeLinear":
		return inferDequantize
	case "Gelu", "FastGelu", "QuickGelu", "BiasGelu":
		return inferUnary
	case "SkipLayerNormalization":
		return func(c *inferCall) { c.set(0, c.dtype(0), c.shape(0)) }
	case "GatherBlockQuantized":
		return func(c *inferCall) {
			data, idx := c.shape(0), c.shape(1)
			ax := int(c.n.Int("gather_axis", 0))
			if len(data) == 0 || idx == nil || ax < -len(data) || ax >= len(data) {
				c.set(0, c.dtype(2), nil)
				return
			}
			if ax < 0 {
				ax += len(data)
			}
			s := append(append(append(Shape{}, data[:ax]...), idx...), data[ax+1:]...)
			if c.dtype(0) == Uint8 && c.n.Int("bits", 4) == 4 { // two to a byte of the last dimension
				if d := &s[len(s)-1]; d.Size > 0 && d.Size < 1<<61 && ax != len(data)-1 {
					d.Size *= 2
				} else {
					*d = Dim{Size: -1}
				}
			}
			c.set(0, c.dtype(2), s)
		}
	case "MatMulNBits":
		return func(c *inferCall) {
			s := c.shape(0)
			if len(s) > 0 {
				s = append(append(Shape{}, s[:len(s)-1]...), Dim{Size: max(c.n.Int("N", -1), -1)})
			}
			c.set(0, c.dtype(0), s)
		}
	}
	return nil
}

// matmul returns the shape of numpy.matmul.
func (c *inferCall) matmul(a, b Shape) Shape {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	m, n := len(a) > 1, len(b) > 1
	x, y := Shape{}, Shape{}
	if m {
		x = a[:len(a)-2]
	}
	if n {
		y = b[:len(b)-2]
	}
	out := c.broadcast(x, y)
	if out == nil {
		return nil
	}
	if m {
		out = append(out, a[len(a)-2])
	}
	if n {
		out = append(out, b[len(b)-1])
	}
	return out
}

func inferGemm(c *inferCall) {
	a, b := c.shape(0), c.shape(1)
	out := c.unknown(2)
	if len(a) == 2 {
		out[0] = a[c.n.Int("transA", 0)&1]
	}
	if len(b) == 2 {
		out[1] = b[1-c.n.Int("transB", 0)&1]
	}
	c.set(0, c.dtype(0), out)
}

// window holds the spatial attributes of a convolution or a pooling.
type window struct {
	kernel               Shape
	stride, dilate, pads []int64
	auto                 string
	ceil                 bool
}

func (c *inferCall) window(rank int, kernel Shape) (window, bool) {
	w := window{kernel: kernel, stride: c.n.Ints("strides"), dilate: c.n.Ints("dilations"), pads: c.n.Ints("pads"),
		auto: c.n.Str("auto_pad", "NOTSET"), ceil: c.n.Int("ceil_mode", 0) != 0}
	if k := c.n.Ints("kernel_shape"); k != nil {
		w.kernel = nil
		for _, v := range k {
			w.kernel = append(w.kernel, known(v).dim())
		}
	}
	ok := len(w.kernel) == rank && rank > 0
	for i := range w.stride {
		ok = ok && w.stride[i] > 0
	}
	for _, l := range []struct {
		v []int64
		n int
	}{{w.stride, rank}, {w.dilate, rank}, {w.pads, 2 * rank}} {
		ok = ok && (l.v == nil || len(l.v) == l.n)
		for _, x := range l.v {
			ok = ok && x > -1<<31 && x < 1<<31
		}
	}
	return w, ok
}

// size returns the number of positions of the window along spatial dimension i of rank.
func (w window) size(d Dim, i, rank int) (Dim, bool) {
	stride, dilate, pad := int64(1), int64(1), int64(0)
	if w.stride != nil {
		stride = w.stride[i]
	}
	if w.dilate != nil {
		dilate = w.dilate[i]
	}
	if w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER" {
		if d.Known() {
			return Dim{Size: (d.Size + stride - 1) / stride}, true
		}
		return d, stride == 1
	}
	if !w.kernel[i].Known() {
		return Dim{}, false
	}
	if w.pads != nil && w.auto != "VALID" {
		pad = w.pads[i] + w.pads[i+rank]
	}
	extent := (w.kernel[i].Size-1)*dilate + 1
	if !d.Known() {
		return d, stride == 1 && pad == extent-1
	}
	n := d.Size + pad - extent
	if n < 0 {
		return Dim{}, false
	}
	out := n/stride + 1
	if w.ceil && n%stride != 0 {
		begin := int64(0)
		if w.pads != nil && w.auto != "VALID" {
			begin = w.pads[i]
		}
		if out*stride < d.Size+begin { // a window must start inside the input or its left padding
			out++
		}
	}
	return Dim{Size: out}, true
}

func (c *inferCall) spatial(x Shape, out Shape, kernel Shape) {
	w, ok := c.window(len(x)-2, kernel)
	for i := range len(x) - 2 {
		out[i+2] = c.fresh()
		if ok {
			if d, ok := w.size(x[i+2], i, len(x)-2); ok {
				out[i+2] = d
			}
		}
	}
}

func (c *inferCall) conv(x, w Shape) Shape {
	if len(x) < 3 {
		return nil
	}
	out := make(Shape, len(x))
	out[0], out[1] = x[0], c.fresh()
	var kernel Shape
	if len(w) == len(x) {
		out[1], kernel = w[0], w[2:]
	}
	c.spatial(x, out, kernel)
	return out
}

func inferPool(c *inferCall) {
	x := c.shape(0)
	var out Shape
	if len(x) >= 3 {
		out = make(Shape, len(x))
		out[0], out[1] = x[0], x[1]
		c.spatial(x, out, nil)
	}
	c.set(0, c.dtype(0), out)
	c.set(1, Int64, out)
}

func inferGlobalPool(c *inferCall) {
	x := c.shape(0)
	var out Shape
	for i, d := range x {
		if i >= 2 {
			d = Dim{Size: 1}
		}
		out = append(out, d)
	}
	c.set(0, c.dtype(0), out)
}

func inferConvTranspose(c *inferCall) {
	x, wt := c.shape(0), c.shape(1)
	if len(x) < 3 || len(wt) != len(x) {
		c.set(0, c.dtype(0), nil)
		return
	}
	rank := len(x) - 2
	out := c.unknown(len(x))
	out[0] = x[0]
	if g := c.n.Int("group", 1); wt[1].Known() && g > 0 && g < 1<<31 {
		out[1] = Dim{Size: wt[1].Size * g}
	}
	w, ok := c.window(rank, wt[2:])
	extra := c.n.Ints("output_padding")
	fixed := c.n.Ints("output_shape")
	for i := range rank {
		stride, dilate, pad, add := int64(1), int64(1), int64(0), int64(0)
		if !ok {
			break
		}
		if w.stride != nil {
			stride = w.stride[i]
		}
		if w.dilate != nil {
			dilate = w.dilate[i]
		}
		if w.pads != nil {
			pad = w.pads[i] + w.pads[i+rank]
		}
		if len(extra) == rank {
			add = extra[i]
		}
		switch {
		case len(fixed) == rank:
			out[i+2] = known(fixed[i]).dim()
		case !x[i+2].Known() || !w.kernel[i].Known():
		case w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER":
			out[i+2] = Dim{Size: x[i+2].Size * stride}
		default:
			out[i+2] = known(stride*(x[i+2].Size-1) + add + (w.kernel[i].Size-1)*dilate + 1 - pad).dim()
		}
	}
	c.set(0, c.dtype(0), out)
}

// inferRecurrent: X [seq, batch, input] (batch first with layout 1); Y [seq, dirs, batch, hidden], Y_h, Y_c [dirs, batch, hidden].
func inferRecurrent(c *inferCall) {
	x, r := c.shape(0), c.shape(2)
	dirs := Dim{Size: 1}
	if c.n.Str("direction", "forward") == "bidirectional" {
		dirs.Size = 2
	}
	hidden := c.fresh()
	if h := c.n.Int("hidden_size", -1); h >= 0 {
		hidden = Dim{Size: h}
	} else if len(r) == 3 && c.n.Domain == "" {
		hidden = r[2]
	}
	seq, batch := c.fresh(), c.fresh()
	layout := c.n.Int("layout", 0)
	if len(x) == 3 {
		seq, batch = x[0], x[1]
		if layout == 1 {
			seq, batch = batch, seq
		}
	}
	y, h := Shape{seq, dirs, batch, hidden}, Shape{dirs, batch, hidden}
	if layout == 1 {
		y, h = Shape{batch, seq, dirs, hidden}, Shape{batch, dirs, hidden}
	}
	c.set(0, c.dtype(0), y)
	c.set(1, c.dtype(0), h)
	c.set(2, c.dtype(0), h)
}

func inferLayerNorm(c *inferCall) {
	s := c.shape(0)
	c.set(0, c.dtype(0), s)
	if c.n.Op != "LayerNormalization" {
		return
	}
	stat := DType(c.n.Int("stash_type", 1) & 0xff)
	a := axis(c.n.Int("axis", -1), len(s))
	if s == nil || a < 0 {
		c.set(1, stat, nil)
		c.set(2, stat, nil)
		return
	}
	out := append(Shape{}, s...)
	for i := a; i < len(out); i++ {
		out[i] = Dim{Size: 1}
	}
	c.set(1, stat, out)
	c.set(2, stat, out)
}

func inferBatchNorm(c *inferCall) {
	c.set(0, c.dtype(0), c.shape(0))
	for i := 1; i < len(c.out); i++ { // running statistics of training
		c.set(i, c.dtype(3), c.shape(3))
	}
}

func inferQuantize(c *inferCall) {
	dt := Uint8
	if o := c.n.Int("output_dtype", 0); o > 0 && o < 256 && DType(o).Valid() {
		dt = DType(o)
	}
	if c.has(2) {
		dt = c.dtype(2)
	}
	c.set(0, dt, c.shape(0))
}

func inferDequantize(c *inferCall) {
	dt := c.dtype(1)
	if o := c.n.Int("output_dtype", 0); o > 0 && o < 256 && DType(o).Valid() {
		dt = DType(o)
	}
	c.set(0, dt, c.shape(0))
}
