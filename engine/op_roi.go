package engine

import (
	"fmt"
	"math"
	"sort"

	"github.com/wattshed/wattshed/model"
)

// opRoiAlign averages (or takes the largest of) bilinear samples in the bins of regions: X, rois, batch_indices.
func opRoiAlign(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	rt, err := c.Need(1)
	if err != nil {
		return err
	}
	bt, err := c.Need(2)
	if err != nil {
		return err
	}
	batch, err := ints(bt)
	if err != nil {
		return err
	}
	n := c.Node
	oh, ow, ratio := int(n.Int("output_height", 1)), int(n.Int("output_width", 1)), int(n.Int("sampling_ratio", 0))
	if x.Rank() != 4 || rt.Rank() != 2 || rt.Shape()[1] != 4 || rt.Shape()[0] != len(batch) || oh < 1 || ow < 1 || ratio < 0 {
		return fmt.Errorf("input %v, rois %v and %d indices for bins %d x %d do not fit", x.Shape(), rt.Shape(), len(batch), oh, ow)
	}
	for _, b := range batch {
		if b < 0 || b >= x.Shape()[0] {
			return fmt.Errorf("index %d is outside of a batch of %d", b, x.Shape()[0])
		}
	}
	src, err := c.wide(x)
	if err != nil {
		return err
	}
	rois, err := c.wide(rt)
	if err != nil {
		return err
	}
	mode := "half_pixel"
	if c.Opset < 16 {
		mode = "output_half_pixel"
	}
	half := n.Str("coordinate_transformation_mode", mode) == "half_pixel"
	scale, most := float64(n.Float("spatial_scale", 1)), n.Str("mode", "avg") == "max"
	ch, h, w := x.Shape()[1], x.Shape()[2], x.Shape()[3]
	shape := []int{len(batch), ch, oh, ow}
	out, err := c.zeros(shape...)
	if err != nil {
		return err
	}
	if h*w == 0 {
		return c.result(0, x.DType(), shape, out)
	}
	// A bin needs no more samples than the image has pixels: a claim beyond that is refused.
	if ratio > 4*max(h, w) {
		return fmt.Errorf("sampling_ratio %d for an image of %d x %d: %w", ratio, h, w, model.ErrUnsupported)
	}
	samples := max(1, ratio*ratio) // of a bin, one at least where their number depends on the region
	err = c.each(len(batch)*ch, 20*oh*ow*samples, func(i int) {
		r, plane := i/ch, src[(batch[i/ch]*ch+i%ch)*h*w:][:h*w]
		alignRegion(out[i*oh*ow:][:oh*ow], plane, rois[r*4:r*4+4], h, w, oh, ow, ratio, scale, half, most)
	})
	if err != nil {
		return err
	}
	return c.result(0, x.DType(), shape, out)
}

// alignRegion fills the bins of one region of one channel.
func alignRegion(dst, plane, roi []float64, h, w, oh, ow, ratio int, scale float64, half, most bool) {
	off := 0.0
	if half {
		off = 0.5
	}
	x0, y0 := roi[0]*scale-off, roi[1]*scale-off
	width, height := roi[2]*scale-off-x0, roi[3]*scale-off-y0
	if !half {
		width, height = max(width, 1), max(height, 1)
	}
	bh, bw := height/float64(oh), width/float64(ow)
	samples := func(bin float64, n int) int {
		if ratio > 0 {
			return ratio
		}
		return int(max(0, min(math.Ceil(bin), float64(4*n))))
	}
	gh, gw := samples(bh, h), samples(bw, w)
	for p := range oh {
		for q := range ow {
			sum, first := 0.0, true
			for iy := range gh {
				y := y0 + float64(p)*bh + (float64(iy)+0.5)*bh/float64(gh)
				for ix := range gw {
					v := bilinear4(plane, y, x0+float64(q)*bw+(float64(ix)+0.5)*bw/float64(gw), h, w)
					if !most {
						sum += v[0] + v[1] + v[2] + v[3]
						continue
					}
					if e := max(v[0], v[1], v[2], v[3]); first || e > sum {
						sum, first = e, false
					}
				}
			}
			if !most {
				sum /= float64(max(gh*gw, 1))
			}
			dst[p*ow+q] = sum
		}
	}
}

// bilinear4 returns the four weighted pixels around a position; zeros more than a pixel outside.
func bilinear4(plane []float64, y, x float64, h, w int) (v [4]float64) {
	if !(y >= -1 && y <= float64(h) && x >= -1 && x <= float64(w)) {
		return v
	}
	near := func(p float64, n int) (lo, hi int, f float64) {
		p = max(p, 0)
		if lo = int(p); lo >= n-1 {
			return n - 1, n - 1, 0
		}
		return lo, lo + 1, p - float64(lo)
	}
	yl, yh, fy := near(y, h)
	xl, xh, fx := near(x, w)
	v[0] = (1 - fy) * (1 - fx) * plane[yl*w+xl]
	v[1] = (1 - fy) * fx * plane[yl*w+xh]
	v[2] = fy * (1 - fx) * plane[yh*w+xl]
	v[3] = fy * fx * plane[yh*w+xh]
	return v
}

// box is a rectangle by its corners.
type box struct{ y0, x0, y1, x1 float64 }

// overlaps reports whether intersection over union exceeds limit.
func (a box) overlaps(b box, limit float64) bool {
	w := min(a.x1, b.x1) - max(a.x0, b.x0)
	h := min(a.y1, b.y1) - max(a.y0, b.y0)
	if w <= 0 || h <= 0 {
		return false
	}
	u, v := (a.x1-a.x0)*(a.y1-a.y0), (b.x1-b.x0)*(b.y1-b.y0)
	union := u + v - w*h
	return u > 0 && v > 0 && union > 0 && w*h/union > limit
}

// opNonMaxSuppression: boxes, scores, max_output_boxes_per_class, iou_threshold, score_threshold. Boxes are taken in order
// of their scores, the first of equal ones first, unless they overlap one that was taken.
func opNonMaxSuppression(c *Call) error {
	bt, err := c.Need(0)
	if err != nil {
		return err
	}
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	if bt.Rank() != 3 || st.Rank() != 3 || bt.Shape()[2] != 4 || st.Shape()[0] != bt.Shape()[0] || st.Shape()[2] != bt.Shape()[1] {
		return fmt.Errorf("boxes %v and scores %v do not fit", bt.Shape(), st.Shape())
	}
	raw, err := c.wide(bt)
	if err != nil {
		return err
	}
	scores, err := c.wide(st)
	if err != nil {
		return err
	}
	limit, iou, least := 0, 0.0, math.Inf(-1)
	if t := c.Arg(2); t != nil && t.Len() > 0 {
		if limit, err = scalarInt(t); err != nil {
			return err
		}
	}
	if t := c.Arg(3); t != nil && t.Len() > 0 {
		if iou, err = scalarFloat(t); err != nil {
			return err
		}
	}
	if t := c.Arg(4); t != nil && t.Len() > 0 {
		if least, err = scalarFloat(t); err != nil {
			return err
		}
	}
	classes, n := st.Shape()[1], bt.Shape()[1]
	boxes := make([]box, len(raw)/4)
	for i := range boxes {
		v := raw[i*4 : i*4+4]
		if boxes[i] = (box{min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])}); c.Node.Int("center_point_box", 0) != 0 {
			boxes[i] = box{v[1] - v[3]/2, v[0] - v[2]/2, v[1] + v[3]/2, v[0] + v[2]/2}
		}
	}
	var picked []int64
	for b := range bt.Shape()[0] {
		for k := range classes {
			row := scores[(b*classes+k)*n:][:n]
			var order, taken []int
			for i, s := range row {
				if s > least || c.Arg(4) == nil {
					order = append(order, i)
				}
			}
			sort.SliceStable(order, func(i, j int) bool { return row[order[i]] > row[order[j]] })
		next:
			for _, i := range order {
				if len(taken) >= limit {
					break
				}
				if c.eval != nil && len(taken)%256 == 255 {
					if err := c.eval.ctx.Err(); err != nil {
						return err
					}
				}
				for _, j := range taken {
					if boxes[b*n+i].overlaps(boxes[b*n+j], iou) {
						continue next
					}
				}
				taken = append(taken, i)
				picked = append(picked, int64(b), int64(k), int64(i))
			}
		}
	}
	out, err := Out[int64](c, 0, []int{len(picked) / 3, 3})
	copy(out, picked)
	return err
}

// opDeformConv is a convolution of images whose taps are moved by offsets and weighted by a mask: X, W, offset, B, mask.
func opDeformConv(c *Call) error {
	var t [5]*model.Tensor
	var v [5][]float64
	for i := range t {
		if t[i] = c.Arg(i); t[i] == nil {
			if i < 3 {
				return fmt.Errorf("input %d is missing", i)
			}
			continue
		}
		var err error
		if v[i], err = c.wide(t[i]); err != nil {
			return err
		}
	}
	n := c.Node
	if t[0].Rank() != 4 || t[1].Rank() != 4 || t[2].Rank() != 4 {
		return fmt.Errorf("input %v, weights %v and offsets %v: want images: %w", t[0].Shape(), t[1].Shape(), t[2].Shape(), model.ErrUnsupported)
	}
	xs, ws, os := t[0].Shape(), t[1].Shape(), t[2].Shape()
	list := func(name string, def ...int) []int {
		if a := attrInts(n, name); len(a) == len(def) {
			return a
		}
		return def
	}
	group, og := int(n.Int("group", 1)), int(n.Int("offset_group", 1))
	dil, pad, str := list("dilations", 1, 1), list("pads", 0, 0, 0, 0), list("strides", 1, 1)
	kh, kw, oh, ow := ws[2], ws[3], os[2], os[3]
	if group < 1 || og < 1 || xs[1] != ws[1]*group || ws[0]%group != 0 || xs[1]%og != 0 || os[0] != xs[0] || os[1] != og*kh*kw*2 ||
		t[3] != nil && len(v[3]) != ws[0] || t[4] != nil && len(v[4]) != xs[0]*og*kh*kw*oh*ow || xs[2]*xs[3] == 0 {
		return fmt.Errorf("input %v, weights %v and offsets %v do not fit %d groups and %d offset groups", xs, ws, os, group, og)
	}
	shape := []int{xs[0], ws[0], oh, ow}
	out, err := c.zeros(shape...)
	if err != nil {
		return err
	}
	s := &sampler{dims: xs[2:], padding: "zeros", mode: "linear"}
	err = c.each(xs[0]*oh*ow, xs[1]*kh*kw*(30+ws[0]/group), func(i int) {
		b, y, x := i/(oh*ow), i/ow%oh, i%ow
		at := make([]float64, 2)
		for ic := range xs[1] {
			g := ic / (xs[1] / og)
			plane := v[0][(b*xs[1]+ic)*xs[2]*xs[3]:][:xs[2]*xs[3]]
			for k := range kh * kw {
				o := ((b*og+g)*kh*kw+k)*2*oh*ow + y*ow + x
				at[0] = float64(y*str[0]-pad[0]+k/kw*dil[0]) + v[2][o]
				at[1] = float64(x*str[1]-pad[1]+k%kw*dil[1]) + v[2][o+oh*ow]
				e := s.read(plane, at, 0, 0)
				if v[4] != nil {
					e *= v[4][((b*og+g)*kh*kw+k)*oh*ow+y*ow+x]
				}
				part := ic / ws[1]
				for oc := part * (ws[0] / group); oc < (part+1)*(ws[0]/group); oc++ {
					out[((b*ws[0]+oc)*oh+y)*ow+x] += e * v[1][(oc*ws[1]+ic%ws[1])*kh*kw+k]
				}
			}
		}
		for oc := range v[3] {
			out[((b*ws[0]+oc)*oh+y)*ow+x] += v[3][oc]
		}
	})
	if err != nil {
		return err
	}
	return c.result(0, t[0].DType(), shape, out)
}
