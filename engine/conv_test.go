package engine_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestConvConstantWeights compares convolutions with constant weights, which are packed and fused with the activation
// after them, with the sum of the definition in float64. Small images, large ones, groups and channels take
// different ways. A chain of at most 25*40 float32 additions of products below 10 errs by less than 1e-4.
func TestConvConstantWeights(t *testing.T) {
	for seed := range uint64(400) {
		b := newBuilder(seed, 17)
		r := b.r
		n, groups, kh, kw := 1+r.IntN(3), 1+r.IntN(3), 1+r.IntN(5), 1+r.IntN(5)
		h, w := 1+r.IntN(8), 1+r.IntN(8)
		if r.IntN(3) == 0 {
			h, w = h+r.IntN(20), w+r.IntN(40)
		}
		cg, og := 1+r.IntN(8), 1+r.IntN(8)
		switch r.IntN(3) {
		case 0:
			cg, og, groups = 1, 1, 1+r.IntN(20) // depthwise
		case 1:
			cg, og, groups = 1+r.IntN(40), 1+r.IntN(40), 1
		}
		st, di, pad := []int{1 + r.IntN(3), 1 + r.IntN(3)}, []int{1 + r.IntN(2), 1 + r.IntN(2)}, []int{r.IntN(3), r.IntN(3), r.IntN(3), r.IntN(3)}
		oh, ow := h+pad[0]+pad[2]-di[0]*(kh-1)-1, w+pad[1]+pad[3]-di[1]*(kw-1)-1
		if oh < 0 || ow < 0 {
			continue
		}
		oh, ow = oh/st[0]+1, ow/st[1]+1
		x, wt, bias := randomTensor(r, 1, n, cg*groups, h, w), randomTensor(r, 1, og*groups, cg, kh, kw), randomTensor(r, 1, og*groups)
		feed := engine.Feed{"x": x}
		in := []string{b.input("x", model.Float32, model.Shape{{Size: int64(n)}, {Size: int64(cg * groups)}, {Size: int64(h)}, {Size: int64(w)}}), b.constant(wt), b.constant(bias)}
		y := b.node("Conv", in, model.IntAttr("group", int64(groups)), intsAttr("strides", st), intsAttr("dilations", di), intsAttr("pads", pad))
		var res []float32
		if r.IntN(3) == 0 {
			t := randomTensor(r, 1, n, og*groups, oh, ow)
			res, _ = t.Float32()
			y = b.node([]string{"Add", "Sum"}[r.IntN(2)], []string{y, b.node("Neg", []string{b.node("Neg", []string{b.input("r", model.Float32, model.Shape{{Size: int64(n)}, {Size: int64(og * groups)}, {Size: int64(oh)}, {Size: int64(ow)}})})})})
			feed["r"] = t
		}
		act := r.IntN(3)
		if act > 0 {
			y = b.node([]string{"", "Relu", "HardSwish"}[act], []string{y})
		}
		b.output(y)
		s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: b.g}, engine.Options{Threads: 1 + r.IntN(2)})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(context.Background(), feed)
		ops := s.Info().Ops
		s.Close()
		if err != nil {
			t.Fatal(err)
		}
		got, _ := out[y].Float32()
		xs, _ := x.Float32()
		ws, _ := wt.Float32()
		bs, _ := bias.Float32()
		for i := range got {
			q, p := i%ow, i/ow%oh
			co, im := i/ow/oh%(og*groups), i/ow/oh/(og*groups)
			sum := float64(bs[co])
			for ci := range cg {
				for e := range kh {
					for f := range kw {
						a, c := p*st[0]+e*di[0]-pad[0], q*st[1]+f*di[1]-pad[1]
						if a >= 0 && a < h && c >= 0 && c < w {
							sum += float64(xs[((im*groups+co/og)*cg+ci)*h*w+a*w+c]) * float64(ws[((co*cg+ci)*kh+e)*kw+f])
						}
					}
				}
			}
			if res != nil {
				sum += float64(res[i])
			}
			switch act {
			case 1:
				sum = max(sum, 0)
			case 2:
				sum *= min(max(sum/6+0.5, 0), 1)
			}
			if math.Abs(float64(got[i])-sum) > 1e-4*max(1, math.Abs(sum)) {
				t.Fatalf("seed %d: x [%d %d %d %d] w [%d %d %d %d] strides %v dilations %v pads %v: y[%d] = %g, want %g",
					seed, n, cg*groups, h, w, og*groups, cg, kh, kw, st, di, pad, i, got[i], sum)
			}
		}
		if ops["Add"]+ops["Sum"] > 0 {
			t.Fatalf("seed %d: the residual is not part of the convolution: %v", seed, ops)
		}
		if len(got) != n*og*groups*oh*ow {
			t.Fatalf("seed %d: %d outputs, want %d", seed, len(got), n*og*groups*oh*ow)
		}
	}
}

// TestConvTranspose compares transposed convolutions of float32, which go over columns, with those of float64, which go by the
// definition: sums of at most 8*25 products below 20, each rounded within 2^-24.
func TestConvTranspose(t *testing.T) {
	for seed := range uint64(200) {
		b := newBuilder(seed, 17)
		r := b.r
		groups, cg, og, kh, kw := 1+r.IntN(3), 1+r.IntN(8), 1+r.IntN(8), 1+r.IntN(5), 1+r.IntN(5)
		n, h, w := 1+r.IntN(2), 1+r.IntN(9), 1+r.IntN(9)
		st, di := []int{1 + r.IntN(3), 1 + r.IntN(3)}, []int{1 + r.IntN(2), 1 + r.IntN(2)}
		pad := []int{r.IntN(kh), r.IntN(kw), r.IntN(kh), r.IntN(kw)}
		attrs := []model.Attr{model.IntAttr("group", int64(groups)), intsAttr("strides", st), intsAttr("dilations", di)}
		switch r.IntN(3) {
		case 0:
			attrs = append(attrs, intsAttr("pads", pad), intsAttr("output_padding", []int{r.IntN(st[0]), r.IntN(st[1])}))
		case 1:
			attrs = append(attrs, model.StringAttr("auto_pad", "SAME_UPPER"))
		}
		x, wt, bias := randomTensor(r, 1, n, cg*groups, h, w), randomTensor(r, 1, cg*groups, og, kh, kw), randomTensor(r, 1, og*groups)
		in := []string{b.input("x", model.Float32, nil), b.input("w", model.Float32, nil), b.input("b", model.Float32, nil)}
		b.output(b.node("ConvTranspose", in, attrs...))
		var wide []string
		for _, name := range in {
			wide = append(wide, b.node("Cast", []string{name}, model.IntAttr("to", int64(model.Float64))))
		}
		b.output(b.node("Cast", []string{b.node("ConvTranspose", wide, attrs...)}, model.IntAttr("to", int64(model.Float32))))
		s := load(t, b.g, engine.Options{Threads: 1 + r.IntN(2)})
		out, err := s.Run(context.Background(), engine.Feed{"x": x, "w": wt, "b": bias})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, want := out[s.Outputs()[0].Name], out[s.Outputs()[1].Name]
		if fmt.Sprint(got.Shape()) != fmt.Sprint(want.Shape()) {
			t.Fatalf("seed %d: shapes %v and %v", seed, got.Shape(), want.Shape())
		}
		g, _ := got.Float32()
		v, _ := want.Float32()
		for i := range v {
			if math.Abs(float64(g[i])-float64(v[i])) > 200*20*math.Exp2(-24)*4 {
				t.Fatalf("seed %d: element %d is %g, want %g", seed, i, g[i], v[i])
			}
		}
	}
}

func intsAttr(name string, v []int) model.Attr {
	w := make([]int64, len(v))
	for i, x := range v {
		w[i] = int64(x)
	}
	return model.IntsAttr(name, w...)
}
