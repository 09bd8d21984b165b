package engine

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/wattshed/wattshed/model"
)

// miscOps are operators of no other family. The random ones draw from a generator seeded by the attribute seed (0 where
// there is none), so a run gives the same numbers as the last one.
func miscOps() map[string]opDef {
	random := func(f OpFunc) opDef { return opDef{run: f, random: true} }
	return qualify("", map[string]opDef{
		"Bernoulli": random(opBernoulli), "RandomUniformLike": random(opRandomUniformLike), "RandomUniform": random(opRandomUniform),
		"RandomNormal": random(opRandomNormal), "RandomNormalLike": random(opRandomNormalLike),
		"Det": plain(opDet), "StringConcat": plain(opStringConcat), "Unique": plain(opUnique),
	})
}

func generator(n *model.Node) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(math.Float32bits(n.Float("seed", 0))), 0x77617474))
}

// drawn makes output 0 of n random numbers.
func drawn(c *Call, d model.DType, shape []int, f func() float64) error {
	n, err := model.NumElements(shape)
	if err != nil || n > maxTensorBytes/8 {
		return fmt.Errorf("output of shape %v is too large", shape)
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = f()
	}
	t, err := fromFloat64(d, shape, v, castRule{saturate: true})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

func (c *Call) like() (model.DType, []int, error) {
	x, err := c.Need(0)
	if err != nil {
		return 0, nil, err
	}
	return model.DType(c.Node.Int("dtype", int64(x.DType()))), x.Shape(), nil
}

func opBernoulli(c *Call) error {
	d, shape, err := c.like()
	if err != nil {
		return err
	}
	p, err := c.toFloat64(c.In[0])
	if err != nil {
		return err
	}
	r, i := generator(c.Node), -1
	return drawn(c, d, shape, func() float64 {
		if i++; r.Float64() < p[i] {
			return 1
		}
		return 0
	})
}

func uniform(n *model.Node) func() float64 {
	r, lo, hi := generator(n), float64(n.Float("low", 0)), float64(n.Float("high", 1))
	return func() float64 { return lo + (hi-lo)*r.Float64() }
}

func normal(n *model.Node) func() float64 {
	r, mean, dev := generator(n), float64(n.Float("mean", 0)), float64(n.Float("scale", 1))
	return func() float64 { return mean + dev*r.NormFloat64() }
}

func opRandomUniformLike(c *Call) error {
	d, shape, err := c.like()
	if err != nil {
		return err
	}
	return drawn(c, d, shape, uniform(c.Node))
}

func opRandomNormalLike(c *Call) error {
	d, shape, err := c.like()
	if err != nil {
		return err
	}
	return drawn(c, d, shape, normal(c.Node))
}

func opRandomUniform(c *Call) error {
	return drawn(c, model.DType(c.Node.Int("dtype", 1)), attrInts(c.Node, "shape"), uniform(c.Node))
}

func opRandomNormal(c *Call) error {
	return drawn(c, model.DType(c.Node.Int("dtype", 1)), attrInts(c.Node, "shape"), normal(c.Node))
}

// dropoutTraining zeroes a random part of the elements and scales the others by 1/(1-ratio).
func dropoutTraining(c *Call, x *model.Tensor) error {
	ratio := 0.5
	if t := c.Arg(1); t != nil {
		var err error
		if ratio, err = scalarFloat(t); err != nil {
			return err
		}
	}
	if !(ratio >= 0 && ratio < 1) {
		return fmt.Errorf("ratio %v", ratio)
	}
	r := generator(c.Node)
	if a := c.Node.Attr("seed"); a != nil && a.Kind == model.AttrInt {
		r = rand.New(rand.NewPCG(uint64(a.I), 0x77617474))
	}
	mask := make([]bool, x.Len())
	for i := range mask {
		mask[i] = ratio == 0 || r.Float64() >= ratio
	}
	v, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	out := make([]float64, len(v))
	for i, e := range v {
		if mask[i] {
			out[i] = e / (1 - ratio)
		}
	}
	t, err := fromFloat64(x.DType(), x.Shape(), out, castRule{})
	if err != nil {
		return err
	}
	c.Set(0, t)
	if c.Wants(1) {
		c.Set(1, model.FromSlice(x.Shape(), mask))
	}
	return nil
}

// opDet is the determinant of the last two dimensions, by elimination with pivots.
func opDet(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	r := x.Rank()
	if r < 2 || x.Shape()[r-1] != x.Shape()[r-2] {
		return errShape("input", x, "square matrices")
	}
	v, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	n := x.Shape()[r-1]
	out := make([]float64, product(x.Shape()[:r-2]))
	for k := range out {
		a := append([]float64(nil), v[k*n*n:(k+1)*n*n]...)
		det := 1.0
		for i := range n {
			p := i
			for j := i + 1; j < n; j++ {
				if math.Abs(a[j*n+i]) > math.Abs(a[p*n+i]) {
					p = j
				}
			}
			if a[p*n+i] == 0 {
				det = 0
				break
			}
			if p != i {
				det = -det
				for j := range n {
					a[p*n+j], a[i*n+j] = a[i*n+j], a[p*n+j]
				}
			}
			det *= a[i*n+i]
			for j := i + 1; j < n; j++ {
				f := a[j*n+i] / a[i*n+i]
				for m := i; m < n; m++ {
					a[j*n+m] -= f * a[i*n+m]
				}
			}
		}
		out[k] = det
	}
	t, err := fromFloat64(x.DType(), append([]int{}, x.Shape()[:r-2]...), out, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

func opStringConcat(c *Call) error {
	var s [2][]string
	for i := range s {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		if s[i], err = t.Strings(); err != nil {
			return err
		}
	}
	shape, err := broadcastShape(c.In[0].Shape(), c.In[1].Shape())
	if err != nil {
		return err
	}
	out := make([]string, product(shape))
	eachBroadcast(shape, [][]int{c.In[0].Shape(), c.In[1].Shape()}, func(i int, off []int) { out[i] = s[0][off[0]] + s[1][off[1]] })
	t, err := model.NewStrings(shape, out)
	if err == nil {
		c.Set(0, t)
	}
	return err
}

// opCol2Im adds columns back to an image, in any number of dimensions.
func opCol2Im(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	var size [2][]int
	for i := range size {
		t, err := c.Need(1 + i)
		if err != nil {
			return err
		}
		if size[i], err = ints(t); err != nil {
			return err
		}
	}
	if x.Rank() != 3 || len(size[0]) != len(size[1]) {
		return errShape("input", x, "[N C*block L]")
	}
	for _, d := range size[0] {
		if d < 0 || d > 1<<30 {
			return fmt.Errorf("image shape %v", size[0])
		}
	}
	w, err := newWindow(c.Node, size[0], size[1], false)
	if err != nil {
		return err
	}
	n, kern, cols := x.Shape()[0], product(w.kernel), product(w.out)
	if kern == 0 || x.Shape()[1]%kern != 0 || x.Shape()[2] != cols {
		return errShape("input", x, fmt.Sprintf("[N C*%d %d]", kern, cols))
	}
	ch := x.Shape()[1] / kern
	v, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	shape := append([]int{n, ch}, size[0]...)
	total, err := model.NumElements(shape)
	if err != nil || total > maxTensorBytes/8 {
		return fmt.Errorf("output of shape %v is too large", shape)
	}
	plane := product(size[0])
	out := make([]float64, total)
	for r := range n * ch {
		for o := range cols {
			w.each(o, func(k, i int) { out[r*plane+i] += v[(r*kern+k)*cols+o] })
		}
	}
	t, err := fromFloat64(x.DType(), shape, out, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}
