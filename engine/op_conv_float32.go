package engine

import (
	"sync"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// convState is what a convolution with constant weights keeps: the weights as the right side of a product, packed when a
// small image is first met.
type convState struct {
	once   sync.Once
	packed *kernel.PackedF32
}

func prepConv(p *prep) (any, error) {
	if w := p.constant(1); w != nil && w.DType() == model.Float32 && (w.Rank() == 3 || w.Rank() == 4) && w.Len() > 0 {
		return &convState{}, nil
	}
	return nil, nil
}

// smallImage is the number of outputs per image and channel below which an image is rows of a product with the packed
// weights: as columns they would leave much of the last panel empty, and be packed at every call.
const smallImage = 200

// forkConv is the number of multiply-adds from which on a convolution is spread over threads: some 30 microseconds.
const forkConv = 1_200_000

// convFloat32 convolves with matrix products: W[cout, K] times the columns [K, out], or rows times packed weights.
func convFloat32(c *Call, v *convCall, ep kernel.Epilogue) error {
	vol := v.w.vol
	if vol == nil {
		if err := convPlain[float32](c, v); err != nil {
			return err
		}
		y, err := model.Data[float32](c.out[0].t)
		if err != nil {
			return err
		}
		return addThen(c, y, ep)
	}
	x, err := model.Data[float32](v.x)
	if err != nil {
		return err
	}
	w, err := model.Data[float32](v.weights)
	if err != nil {
		return err
	}
	var bias []float32
	if v.bias != nil {
		if bias, err = model.Data[float32](v.bias); err != nil {
			return err
		}
	}
	y, err := Out[float32](c, 0, v.outShape(c))
	if err != nil || len(y) == 0 {
		return err
	}
	g, flat := &vol.Window, len(v.w.in) < 3
	in, out, cg, og := vol.D*g.H*g.W, vol.OD*g.OH*g.OW, v.cin/v.groups, v.cout/v.groups
	if cg == 1 && og == 1 && flat && mayPad(c, kernel.DepthwiseLen(g), in) {
		c.Note("depthwise", v.macs(), int64(4*len(w)))
		kern, act := g.KH*g.KW, ep.Act
		if ep.Residual != nil {
			act = kernel.ActNone
		}
		rowsParallel(c.pool, v.n*v.cin, out*kern, func(lo, hi int) {
			for i := lo; i < hi; {
				ch := i % v.cin
				k := min(hi-i, v.cin-ch)
				var b []float32
				if bias != nil {
					b = bias[ch : ch+k]
				}
				kernel.DepthwiseConv(y[i*out:(i+k)*out], x[i*in:(i+k)*in], w[ch*kern:(ch+k)*kern], b, k, g, act)
				i += k
			}
		})
		if ep.Residual != nil {
			return addThen(c, y, ep)
		}
		return nil
	}
	var st *convState
	if c.st != nil {
		st, _ = c.st.state.(*convState)
	}
	if st != nil && v.groups == 1 && out < smallImage && cg > 0 {
		c.NoteISA("conv-rows", v.macs(), int64(4*len(w)))
		ep.Bias = bias
		return convRows(c, v, g, x, st.weights(w, v.cout, cg, g.KH*g.KW), y, ep)
	}
	if !mayPad(c, kernel.PaddedLen(cg, vol), cg*in) {
		convDirect(c.pool, y, x, w, bias, v)
		return addThen(c, y, ep)
	}
	c.NoteISA("conv", v.macs(), int64(4*len(w)))
	if v.n*v.groups >= 2*c.pool.Threads() && v.macs() > forkConv { // whole groups in every thread
		v.allGroups(c.pool, x, w, bias, y, ep)
		return nil
	}
	for i := range v.n * v.groups {
		v.group(c.pool, i, x, w, bias, y, ep)
	}
	return nil
}

// allGroups convolves the groups of all images side by side.
func (v *convCall) allGroups(p *kernel.Pool, x, w, bias, y []float32, ep kernel.Epilogue) {
	p.Run(v.n*v.groups, func(i int) { v.group(nil, i, x, w, bias, y, ep) })
}

// group convolves group i of those of all images.
func (v *convCall) group(p *kernel.Pool, i int, x, w, bias, y []float32, ep kernel.Epilogue) {
	vol := v.w.vol
	n, gr, cg, og := i/v.groups, i%v.groups, v.cin/v.groups, v.cout/v.groups
	in, out, k := vol.D*vol.H*vol.W, vol.OD*vol.OH*vol.OW, cg*product(v.w.kernel)
	if bias != nil {
		ep.BiasM = bias[gr*og : (gr+1)*og]
	}
	if ep.Residual != nil {
		ep.Residual, ep.LdR = ep.Residual[(n*v.cout+gr*og)*out:], out
	}
	kernel.ConvVolumeF32(p, og, w[gr*og*k:(gr+1)*og*k], cg, x[(n*v.cin+gr*cg)*in:][:cg*in], vol, y[(n*v.cout+gr*og)*out:][:og*out], ep)
}

// weights packs W [cout, cin, kern] as the matrix [kern*cin, cout].
func (st *convState) weights(w []float32, cout, cin, kern int) *kernel.PackedF32 {
	st.once.Do(func() {
		if kern > 1 && cin > 1 {
			t := make([]float32, len(w))
			for o := range cout {
				kernel.Transpose2D(t[o*cin*kern:(o+1)*cin*kern], w[o*cin*kern:(o+1)*cin*kern], cin, kern)
			}
			w = t
		}
		st.packed = kernel.PackF32(cin*kern, cout, w, cin*kern, true)
	})
	return st.packed
}

// convRows convolves all images at once: every output position is a row of kernel elements with their channels side
// by side, times the packed weights.
func convRows(c *Call, v *convCall, g *kernel.Window, x []float32, w *kernel.PackedF32, y []float32, ep kernel.Epilogue) error {
	in, out, k := g.H*g.W, g.OH*g.OW, w.K
	a := x
	if in != 1 || out != 1 || k != v.cin || g.Top+g.Left > 0 {
		a = Scratch[float32](c, v.n*out*k)
		last := Scratch[float32](c, v.n*in*v.cin) // channels last
		rowsParallel(c.pool, v.n, in*v.cin+out*k, func(lo, hi int) {
			for n := lo; n < hi; n++ {
				img := last[n*in*v.cin : (n+1)*in*v.cin]
				if v.cin == 1 || in == 1 {
					img = x[n*in*v.cin : (n+1)*in*v.cin]
				} else {
					kernel.Transpose2D(img, x[n*in*v.cin:(n+1)*in*v.cin], v.cin, in)
				}
				imageRows(a[n*out*k:(n+1)*out*k], img, v.cin, g)
			}
		})
	}
	if out == 1 {
		if ep.Residual != nil {
			ep.LdR = v.cout
		}
		kernel.GemmF32(c.pool, v.n, a, k, w, y, v.cout, ep)
		return nil
	}
	later := kernel.Epilogue{Residual: ep.Residual}
	if ep.Residual != nil { // it lies like y
		ep.Act, later.Act, ep.Residual = kernel.ActNone, ep.Act, nil
	}
	z := Scratch[float32](c, len(y))
	kernel.GemmF32(c.pool, v.n*out, a, k, w, z, v.cout, ep)
	for n := range v.n {
		kernel.Transpose2D(y[n*out*v.cout:(n+1)*out*v.cout], z[n*out*v.cout:(n+1)*out*v.cout], out, v.cout)
	}
	return addThen(c, y, later)
}

// imageRows writes the row [KH*KW, c] of every output position of an image [H, W, c].
func imageRows(dst, src []float32, c int, g *kernel.Window) {
	for oh := range g.OH {
		for ow := range g.OW {
			for kh := range g.KH {
				d := dst[:g.KW*c]
				dst = dst[g.KW*c:]
				h, w := oh*g.SH+kh*g.DH-g.Top, ow*g.SW-g.Left
				if h < 0 || h >= g.H {
					clear(d)
					continue
				}
				row := src[h*g.W*c : (h+1)*g.W*c]
				if g.DW == 1 {
					lo := min(max(0, -w), g.KW)
					hi := max(lo, min(g.KW, g.W-w))
					clear(d[:lo*c])
					clear(d[hi*c:])
					if lo < hi {
						copy(d[lo*c:hi*c], row[(w+lo)*c:])
					}
					continue
				}
				for kw := range g.KW {
					e := d[kw*c : (kw+1)*c]
					if p := w + kw*g.DW; p >= 0 && p < g.W {
						copy(e, row[p*c:])
					} else {
						clear(e)
					}
				}
			}
		}
	}
}
