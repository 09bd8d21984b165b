package engine_test

import (
	"context"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Graphs that claim sizes which no memory holds, or numbers that overflow: each is an error that is no internal one, in
// the memory that a run may use.
func TestHostileSizes(t *testing.T) {
	const big = int64(1) << 40
	i64 := func(v ...int64) *model.Tensor { return model.FromSlice([]int{len(v)}, v) }
	one := func(v int64) *model.Tensor { return model.Scalar(v) }
	image := model.FromSlice([]int{1, 1, 2, 2}, make([]float32, 4))
	row := model.FromSlice([]int{1, 4}, make([]float32, 4))
	for _, c := range []struct {
		name  string
		op    string
		opset int64
		in    []*model.Tensor
		attrs []model.Attr
	}{
		{"shape", "ConstantOfShape", 13, []*model.Tensor{i64(big)}, nil},
		{"shape at the bound", "ConstantOfShape", 13, []*model.Tensor{i64(1 << 32)}, nil},
		{"overflowing shape", "ConstantOfShape", 13, []*model.Tensor{i64(1<<32, 1<<32, 4)}, nil},
		{"negative shape", "ConstantOfShape", 13, []*model.Tensor{i64(-1)}, nil},
		{"expand", "Expand", 13, []*model.Tensor{row, i64(big, 4)}, nil},
		{"expand overflowing", "Expand", 13, []*model.Tensor{row, i64(math.MaxInt64, 2, 4)}, nil},
		{"tile", "Tile", 13, []*model.Tensor{row, i64(big, 1)}, nil},
		{"tile overflowing", "Tile", 13, []*model.Tensor{row, i64(1, 1<<62)}, nil},
		{"range", "Range", 13, []*model.Tensor{one(0), one(big), one(1)}, nil},
		{"range overflowing", "Range", 13, []*model.Tensor{one(math.MinInt64), one(math.MaxInt64), one(1)}, nil},
		{"pad", "Pad", 13, []*model.Tensor{row, i64(big, 0, 0, 0)}, nil},
		{"pad overflowing", "Pad", 13, []*model.Tensor{row, i64(math.MaxInt64, 0, math.MaxInt64, 0)}, nil},
		{"resize", "Resize", 13, []*model.Tensor{image, nil, nil, i64(1, 1, big, big)}, nil},
		{"resize between axes", "Resize", 13, []*model.Tensor{model.FromSlice([]int{1, 1, 1, 1 << 12}, make([]float32, 1<<12)), nil, nil, i64(1, 1, 1<<14, 1)},
			[]model.Attr{model.StringAttr("mode", "linear")}},
		{"resize of bytes between axes", "Resize", 18, []*model.Tensor{model.FromSlice([]int{1, 1, 1 << 12, 1}, make([]uint8, 1<<12)), nil, nil, i64(1, 1, 1, 1<<14)},
			[]model.Attr{model.StringAttr("mode", "linear"), model.IntAttr("antialias", 1)}},
		{"resize of bytes", "Resize", 18, []*model.Tensor{model.FromSlice([]int{1, 1, 2, 2}, make([]uint8, 4)), nil, nil, i64(1, 1, 1<<13, 1<<13)},
			[]model.Attr{model.StringAttr("mode", "linear")}},
		{"resize scales", "Resize", 13, []*model.Tensor{image, nil, model.FromSlice([]int{4}, []float32{1, 1, 1e30, 1e30})}, nil},
		{"one-hot", "OneHot", 13, []*model.Tensor{i64(0, 1), one(big), model.FromSlice([]int{2}, []float32{0, 1})}, nil},
		{"window", "HannWindow", 17, []*model.Tensor{one(big)}, nil},
		{"unpool", "MaxUnpool", 13, []*model.Tensor{image, model.FromSlice([]int{1, 1, 2, 2}, make([]int64, 4))},
			[]model.Attr{model.IntsAttr("kernel_shape", 1<<30, 1<<30), model.IntsAttr("strides", 1<<30, 1<<30)}},
		{"pool pads", "MaxPool", 13, []*model.Tensor{image}, []model.Attr{model.IntsAttr("kernel_shape", 1, 1), model.IntsAttr("pads", 1<<30, 1<<30, 1<<30, 1<<30)}},
		{"average pads", "AveragePool", 13, []*model.Tensor{model.FromSlice([]int{1, 1, 2, 2}, make([]float64, 4))},
			[]model.Attr{model.IntsAttr("kernel_shape", 1, 1), model.IntsAttr("pads", 1<<10, 1<<10, 1<<10, 1<<10)}},
		{"norm pads", "LpPool", 13, []*model.Tensor{image}, []model.Attr{model.IntsAttr("kernel_shape", 1, 1), model.IntsAttr("pads", 1<<10, 1<<10, 1<<10, 1<<10)}},
		{"conv pads", "Conv", 13, []*model.Tensor{image, model.FromSlice([]int{1, 1, 1, 1}, []float32{1})}, []model.Attr{model.IntsAttr("pads", 1<<30, 1<<30, 1<<30, 1<<30)}},
		{"transposed conv", "ConvTranspose", 13, []*model.Tensor{image, model.FromSlice([]int{1, 1, 1, 1}, []float32{1})}, []model.Attr{model.IntsAttr("strides", 1<<30, 1<<30)}},
		{"random", "RandomNormal", 13, nil, []model.Attr{model.IntsAttr("shape", 1<<20, 1<<20)}},
		{"multinomial", "Multinomial", 13, []*model.Tensor{row}, []model.Attr{model.IntAttr("sample_size", big)}},
		{"mel", "MelWeightMatrix", 17, []*model.Tensor{one(big), one(big), one(16000), model.Scalar(float32(0)), model.Scalar(float32(8000))}, nil},
		{"blackman", "BlackmanWindow", 17, []*model.Tensor{one(-5)}, nil},
		{"col2im", "Col2Im", 18, []*model.Tensor{model.FromSlice([]int{1, 1, 1}, []float32{1}), i64(big, big), i64(1, 1)}, nil},
		{"depth", "DepthToSpace", 13, []*model.Tensor{image}, []model.Attr{model.IntAttr("blocksize", 1<<32)}},
		{"space", "SpaceToDepth", 13, []*model.Tensor{image}, []model.Attr{model.IntAttr("blocksize", math.MinInt64)}},
		{"affine grid", "AffineGrid", 20, []*model.Tensor{model.FromSlice([]int{1, 2, 3}, make([]float32, 6)), i64(1, 1, big, big)}, nil},
		{"upsample", "Upsample", 9, []*model.Tensor{image, model.FromSlice([]int{4}, []float32{1, 1, 1e9, 1e9})}, nil},
		{"stft", "STFT", 17, []*model.Tensor{model.FromSlice([]int{1, 4, 1}, make([]float32, 4)), one(1), nil, one(big)}, nil},
		{"dft", "DFT", 17, []*model.Tensor{model.FromSlice([]int{1, 4, 1}, make([]float32, 4)), one(big)}, nil},
		{"center crop", "CenterCropPad", 18, []*model.Tensor{row, i64(big, big)}, nil},
		{"lstm", "LSTM", 14, []*model.Tensor{model.FromSlice([]int{1, 1, 1}, make([]float32, 1)), model.FromSlice([]int{1, 4, 1}, make([]float32, 4)),
			model.FromSlice([]int{1, 4, 1}, make([]float32, 4))}, []model.Attr{model.IntAttr("hidden_size", big)}},
	} {
		for _, fold := range []bool{false, true} {
			b := newBuilder(1, c.opset)
			in := engine.Feed{}
			var names []string
			for _, x := range c.in {
				switch {
				case x == nil:
					names = append(names, "")
				case fold:
					names = append(names, b.constant(x))
				default:
					name := b.input(b.name("x"), x.DType(), nil)
					names, in[name] = append(names, name), x
				}
			}
			b.output(b.node(c.op, names, c.attrs...))
			if err := model.InferShapes(b.g.Clone()); err != nil && strings.Contains(err.Error(), "panic") {
				t.Errorf("%s: %v", c.name, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s, err := engine.Native{}.Load(ctx, engine.Artifact{Graph: b.g}, engine.Options{Threads: 2, Memory: 1 << 24})
			if err == nil {
				_, err = s.Run(ctx, in)
				if e := s.Close(); e != nil {
					t.Error(e)
				}
			}
			cancel()
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<24 {
				t.Errorf("%s, constant %v: the run took %d bytes, of %d", c.name, fold, n, 1<<24)
			}
			if err == nil || strings.Contains(err.Error(), "internal error") {
				t.Errorf("%s, constant %v: %v", c.name, fold, err)
			}
		}
	}
}

// TestHostileGeometry: strides, dilations and pads whose windows reach far beyond a small image give the few values of the definition, and
// take no more memory than a run may: a padded image, or all parts of a stride, would be gigabytes.
func TestHostileGeometry(t *testing.T) {
	floats := func(shape []int, v ...float32) *model.Tensor { return model.FromSlice(shape, v) }
	ints := func(name string, v ...int64) model.Attr { return model.IntsAttr(name, v...) }
	far := func(dims int, at int64) []model.Attr { // the outputs are 3 in every direction, of which the middle one meets the image
		a, p := slices.Repeat([]int64{at}, dims), slices.Repeat([]int64{at}, 2*dims)
		return []model.Attr{ints("strides", a...), ints("pads", p...)}
	}
	middle := func(n int, v ...float64) []float64 {
		var y []float64
		for _, v := range v {
			plane := make([]float64, n)
			plane[n/2] = v
			y = append(y, plane...)
		}
		return y
	}
	alone := func(n int, v float64) []float64 { // the largest of nothing is -Inf
		y := slices.Repeat([]float64{math.Inf(-1)}, n)
		y[n/2] = v
		return y
	}
	column, columns := make([]float32, 1<<15), make([]float64, 1<<19)
	for i := range column {
		column[i] = float32(i % 1000)
		for ch := range 16 {
			columns[ch<<15+i] = float64(i%1000) * float64(ch+1)
		}
	}
	groups := model.IntAttr("group", 2)
	bytes := model.FromSlice([]int{1, 2, 1, 1}, []uint8{3, 5})
	for _, c := range []struct {
		name, op string
		in       []*model.Tensor
		attrs    []model.Attr
		want     []float64
	}{
		{"transposed column", "ConvTranspose", []*model.Tensor{floats([]int{1, 1, 1 << 15, 1}, column...),
			floats([]int{1, 16, 1, 1}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)}, []model.Attr{ints("strides", 1, 1024)}, columns},
		{"transposed and cropped", "ConvTranspose", []*model.Tensor{floats([]int{1, 1, 1, 1}, 3), floats([]int{1, 1, 2, 2}, 2, 4, 8, 16)},
			[]model.Attr{ints("dilations", 1<<17, 1<<17), ints("pads", 0, 0, 1<<17, 1<<17)}, []float64{6}},
		{"image", "Conv", []*model.Tensor{floats([]int{1, 1, 1, 1}, 3), floats([]int{2, 1, 1, 1}, 2, 4)}, far(2, 1<<15), middle(9, 6, 12)},
		{"image in groups", "Conv", []*model.Tensor{floats([]int{1, 2, 1, 1}, 3, 5), floats([]int{4, 1, 1, 1}, 2, 4, 8, 16)},
			append(far(2, 1<<15), groups), middle(9, 6, 12, 40, 80)},
		{"volume", "Conv", []*model.Tensor{floats([]int{1, 1, 1, 1, 1}, 3), floats([]int{1, 1, 1, 1, 1}, 2)}, far(3, 1<<11), middle(27, 6)},
		{"depthwise bytes", "ConvInteger", []*model.Tensor{bytes, model.FromSlice([]int{2, 1, 1, 1}, []int8{2, -4})}, append(far(2, 1<<15), groups), middle(9, 6, -20)},
		{"bytes in groups", "ConvInteger", []*model.Tensor{bytes, model.FromSlice([]int{4, 1, 1, 1}, []int8{2, -4, 8, -16})},
			append(far(2, 1<<15), groups), middle(9, 6, -12, 40, -80)},
		{"volume of bytes", "ConvInteger", []*model.Tensor{model.FromSlice([]int{1, 2, 1, 1, 1}, []uint8{3, 5}), model.FromSlice([]int{2, 1, 1, 1, 1}, []int8{2, -4})},
			append(far(3, 1<<11), groups), middle(27, 6, -20)},
		{"quantized depthwise", "QLinearConv", []*model.Tensor{bytes, model.Scalar(float32(1)), model.Scalar(uint8(0)), model.FromSlice([]int{2, 1, 1, 1}, []int8{2, 4}),
			model.Scalar(float32(1)), model.Scalar(int8(0)), model.Scalar(float32(1)), model.Scalar(uint8(0))},
			[]model.Attr{ints("strides", 1, 1<<17), ints("pads", 1000, 1<<17, 1000, 1<<17), groups}, middle(2001*3, 6, 20)},
		{"pooled slices", "AveragePool", []*model.Tensor{floats([]int{1, 1, 1 << 10, 1, 1}, column[3:3+1<<10]...)},
			[]model.Attr{ints("kernel_shape", 1, 1, 1), ints("strides", 1<<10, 1, 1), ints("pads", 0, 64, 64, 0, 64, 64)}, middle(129*129, 3)},
		{"average", "AveragePool", []*model.Tensor{floats([]int{1, 2, 1, 1}, 3, 5)}, append(far(2, 1<<12), ints("kernel_shape", 1, 1)), middle(9, 3, 5)},
		{"largest", "MaxPool", []*model.Tensor{floats([]int{1, 1, 1, 1}, 3)}, append(far(2, 1<<12), ints("kernel_shape", 1, 1)), alone(9, 3)},
		{"average of a volume", "AveragePool", []*model.Tensor{floats([]int{1, 1, 1, 1, 1}, 3)}, append(far(3, 1<<11), ints("kernel_shape", 1, 1, 1)), middle(27, 3)},
		{"largest of a volume", "MaxPool", []*model.Tensor{floats([]int{1, 1, 1, 1, 1}, 3)}, append(far(3, 1<<11), ints("kernel_shape", 1, 1, 1)), alone(27, 3)},
		{"pad before one pixel", "Conv", []*model.Tensor{floats([]int{1, 1, 1, 1}, 3), floats([]int{2, 1, 1, 1}, 2, 4)},
			[]model.Attr{ints("strides", 2, 2), ints("pads", 1, 1, 0, 0)}, []float64{0, 0}},
	} {
		for _, constant := range []bool{false, true} {
			b := newBuilder(1, 13)
			in := engine.Feed{}
			x := b.input("x", c.in[0].DType(), nil)
			in[x] = c.in[0]
			names := []string{x}
			for _, w := range c.in[1:] {
				if constant {
					names = append(names, b.constant(w))
				} else {
					name := b.input(b.name("w"), w.DType(), nil)
					names, in[name] = append(names, name), w
				}
			}
			y := b.node(c.op, names, c.attrs...)
			b.output(y)
			s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{Threads: 2, Memory: 1 << 24})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			out, err := s.Run(t.Context(), in)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatalf("%s, constant %v: %v", c.name, constant, err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<24 {
				t.Errorf("%s, constant %v: the run took %d bytes, of %d", c.name, constant, n, 1<<24)
			}
			if got, err := engine.Float64s(out[y]); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s, constant %v: %d values, %v, differ from the %d of the definition", c.name, constant, len(got), err, len(c.want))
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
