package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// transposedSums is the number of int32 products that a transposed convolution holds at a time, between the product and the
// addition of overlapping windows.
const transposedSums = 1 << 18

// quantTranspose is a transposed convolution of bytes, ready to run.
type quantTranspose struct {
	groups, cg, og int
	kern           []int
	w              []*kernel.PackedS8 // by group: [cg, kernel*og], the channels of one place of the kernel side by side
	zero           [][]int8           // of the columns of w, nil for 0
	scale          []float32          // one or one per output channel
	bias           []int32            // nil for none; with float results biasF
	biasF          []float32
}

func (*quantTranspose) packedWeight() {}

// prepQuantTranspose packs x, W [Cin, Cout/groups, kernel...] int8, scale, bias (int32, or float32 with the attribute float) and
// zero points of W by channel of axis 1. It fails for lengths that do not fit W.
func prepQuantTranspose(p *prep) (any, error) {
	w, st := p.constant(1), p.constant(2)
	if w == nil || st == nil || w.DType() != model.Int8 || w.Rank() < 3 {
		return nil, fmt.Errorf("the weights are no constant")
	}
	s := &quantTranspose{groups: int(p.node.Int("group", 1)), og: w.Shape()[1], kern: w.Shape()[2:]}
	if s.groups < 1 || w.Shape()[0]%s.groups != 0 {
		return nil, fmt.Errorf("weights %v of %d groups", w.Shape(), s.groups)
	}
	cout := s.og * s.groups
	if n := st.Len(); n != 1 && n != cout {
		return nil, errShape("the scale", st, fmt.Sprintf("[%d]", cout))
	}
	if b := p.constant(3); b == nil && p.node.In(3) != "" {
		return nil, fmt.Errorf("the bias is no constant")
	} else if b != nil && b.Len() != cout {
		return nil, errShape("the bias", b, fmt.Sprintf("[%d]", cout))
	}
	if z := p.constant(4); z != nil && z.Len() != 1 && z.Len() != s.og {
		return nil, errShape("the zero points", z, fmt.Sprintf("[%d]", s.og))
	}
	s.cg = w.Shape()[0] / s.groups
	raw, err := model.Data[int8](w)
	if err != nil {
		return nil, err
	}
	if s.scale, err = model.Data[float32](st); err != nil {
		return nil, err
	}
	if b := p.constant(3); b != nil && b.DType() == model.Float32 {
		s.biasF, err = model.Data[float32](b)
	} else if b != nil {
		s.bias, err = model.Data[int32](b)
	}
	if err != nil {
		return nil, err
	}
	var zero []int8
	if z := p.constant(4); z != nil {
		if zero, err = model.Data[int8](z); err != nil {
			return nil, err
		}
	}
	taps := product(s.kern)
	columns := taps * s.og
	for g := range s.groups {
		m := make([]int8, s.cg*columns)
		for ci := range s.cg {
			for co := range s.og {
				for k := range taps {
					m[ci*columns+k*s.og+co] = raw[((g*s.cg+ci)*s.og+co)*taps+k]
				}
			}
		}
		packed := kernel.PackS8(s.cg, columns, m, columns, false)
		p.c.packed.Add(packed.Bytes())
		s.w = append(s.w, packed)
		var z []int8
		if zero != nil {
			z = make([]int8, columns)
			for i := range z {
				z[i] = zero[i%s.og%len(zero)]
			}
		}
		s.zero = append(s.zero, z)
	}
	return s, nil
}

// plane is the geometry of a transposed convolution: in rows and columns of x, out of y. One spatial dimension is a plane of
// one column, so that it too is cut into rows.
type plane struct {
	inH, inW, outH, outW, kh, kw, sh, sw, dh, dw, top, left int
}

// planeOf turns the window of the forward convolution, whose input is our output, into a plane.
func planeOf(w *convWindow) plane {
	p := plane{inH: w.out[0], outH: w.in[0], kh: w.kernel[0], sh: w.stride[0], dh: w.dilation[0], top: w.before[0], inW: 1, outW: 1, kw: 1, sw: 1, dw: 1}
	if len(w.in) == 2 {
		p.inW, p.outW, p.kw, p.sw, p.dw, p.left = w.out[1], w.in[1], w.kernel[1], w.stride[1], w.dilation[1], w.before[1]
	}
	return p
}

// source returns the input coordinate that place k of the kernel sends to output o, or -1.
func source(o, k, stride, dilation, before, in int) int {
	at := o + before - k*dilation
	if at < 0 || at%stride != 0 || at/stride >= in {
		return -1
	}
	return at / stride
}

// add adds what rows i0..i1 of the input, whose products are cols, give to row o of the output: sums is [outW, og].
func (p *plane) add(sums, cols []int32, o, i0, i1, og int) {
	columns := p.kh * p.kw * og
	for kh := range p.kh {
		i := source(o, kh, p.sh, p.dh, p.top, p.inH)
		if i < i0 || i >= i1 {
			continue
		}
		for x := range p.outW {
			dst := sums[x*og : (x+1)*og]
			for kw := range p.kw {
				j := source(x, kw, p.sw, p.dw, p.left, p.inW)
				if j < 0 {
					continue
				}
				src := cols[((i-i0)*p.inW+j)*columns+(kh*p.kw+kw)*og:][:og]
				for c, v := range src {
					dst[c] += v
				}
			}
		}
	}
}

// opQuantTranspose is ConvTranspose of bytes, channels last, in integers: the products of every pixel with the kernel, then the
// sums of what falls on the same place, then one rounding. With the attribute float the result is float32, channels first.
func opQuantTranspose(c *Call) error {
	x, src, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	st, ok := c.st.state.(*quantTranspose)
	if !ok {
		return fmt.Errorf("not prepared")
	}
	n, cin, spatial, err := lastImage(x)
	if err != nil {
		return err
	}
	if cin != st.cg*st.groups || len(spatial) != len(st.kern) || len(spatial) > 2 {
		return fmt.Errorf("weights %v do not fit X %v", c.In[1].Shape(), x.Shape())
	}
	w, err := transposeWindow(c.Node, spatial, st.kern)
	if err != nil {
		return err
	}
	cout := st.og * st.groups
	var y []uint8
	var yf []float32
	if c.Node.Int("float", 0) != 0 {
		yf, err = Out[float32](c, 0, append([]int{n, cout}, w.in...))
	} else {
		y, err = Out[uint8](c, 0, append(append([]int{n}, w.in...), cout))
	}
	if err != nil || len(y)+len(yf) == 0 {
		return err
	}
	p := planeOf(w)
	c.NoteISA("int8-transposed", int64(n*p.inH*p.inW)*int64(cin*st.og*product(st.kern)), int64(cin*st.og*product(st.kern)))
	st.run(c, n, cin, &p, src, y, yf)
	return nil
}

// run computes all images and groups, some rows of the input at a time.
func (s *quantTranspose) run(c *Call, n, cin int, p *plane, x, y []uint8, yf []float32) {
	columns := p.kh * p.kw * s.og
	rows := max(1, min(p.inH, transposedSums/max(1, p.inW*columns)))
	cols := Scratch[int32](c, rows*p.inW*columns)
	sums := Scratch[int32](c, p.outH*p.outW*s.og)
	zx := []uint8{byteAttr(c.Node, "zx")}
	for b := range n {
		for g := range s.groups {
			clear(sums)
			for i0 := 0; i0 < p.inH && s.cg > 0; i0 += rows {
				i1 := min(i0+rows, p.inH)
				a := x[(b*p.inH+i0)*p.inW*cin+g*s.cg:]
				kernel.MatMulInteger(c.pool, (i1-i0)*p.inW, a, cin, zx, s.w[g], s.zero[g], cols, columns)
				rowsParallel(c.pool, p.outH, p.outW*columns, func(lo, hi int) {
					for o := lo; o < hi; o++ {
						p.add(sums[o*p.outW*s.og:(o+1)*p.outW*s.og], cols, o, i0, i1, s.og)
					}
				})
			}
			if yf != nil {
				s.toFloat(c, sums, yf[b*p.outH*p.outW*s.og*s.groups:], g, p.outH*p.outW)
			} else {
				s.toBytes(c, sums, y[b*p.outH*p.outW*s.og*s.groups:], g)
			}
		}
	}
}

// toBytes rounds the sums of a group: saturate(round((sum + bias) * scale) + zy), limited to lo..hi, as QuantConv does.
func (s *quantTranspose) toBytes(c *Call, sums []int32, y []uint8, g int) {
	zy, lo, hi := byteAttr(c.Node, "zy"), byteAttr(c.Node, "lo"), byteAttr(c.Node, "hi")
	z, cout := float32(zy), s.og*s.groups
	low, high := float32(lo)-z, float32(hi)-z
	rowsParallel(c.pool, len(sums)/s.og, s.og, func(r0, r1 int) {
		for r := r0; r < r1; r++ {
			dst := y[r*cout+g*s.og:][:s.og]
			for i, v := range sums[r*s.og : (r+1)*s.og] {
				o := g*s.og + i
				if s.bias != nil {
					v += s.bias[o]
				}
				f := min(float32(v)*s.scale[o%len(s.scale)], high)
				dst[i] = lo
				if f > low {
					dst[i] = uint8(int32(math.RoundToEven(float64(f))) + int32(zy))
				}
			}
		}
	})
}

// toFloat makes sum * scale + bias of a group, channels first.
func (s *quantTranspose) toFloat(c *Call, sums []int32, y []float32, g, plane int) {
	rowsParallel(c.pool, s.og, plane, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			o := g*s.og + i
			scale, bias := s.scale[o%len(s.scale)], float32(0)
			if s.biasF != nil {
				bias = s.biasF[o]
			}
			dst := y[o*plane : (o+1)*plane]
			for r := range dst {
				dst[r] = float32(sums[r*s.og+i])*scale + bias
			}
		}
	})
}
