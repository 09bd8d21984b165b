package engine_test

import (
	"context"
	"math"
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
		{"resize scales", "Resize", 13, []*model.Tensor{image, nil, model.FromSlice([]int{4}, []float32{1, 1, 1e30, 1e30})}, nil},
		{"one-hot", "OneHot", 13, []*model.Tensor{i64(0, 1), one(big), model.FromSlice([]int{2}, []float32{0, 1})}, nil},
		{"window", "HannWindow", 17, []*model.Tensor{one(big)}, nil},
		{"unpool", "MaxUnpool", 13, []*model.Tensor{image, model.FromSlice([]int{1, 1, 2, 2}, make([]int64, 4))},
			[]model.Attr{model.IntsAttr("kernel_shape", 1<<30, 1<<30), model.IntsAttr("strides", 1<<30, 1<<30)}},
		{"pool pads", "MaxPool", 13, []*model.Tensor{image}, []model.Attr{model.IntsAttr("kernel_shape", 1, 1), model.IntsAttr("pads", 1<<30, 1<<30, 1<<30, 1<<30)}},
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
			s, err := engine.Native{}.Load(ctx, engine.Artifact{Graph: b.g}, engine.Options{Threads: 2, Memory: 1 << 24})
			if err == nil {
				_, err = s.Run(ctx, in)
				if e := s.Close(); e != nil {
					t.Error(e)
				}
			}
			cancel()
			if err == nil || strings.Contains(err.Error(), "internal error") {
				t.Errorf("%s, constant %v: %v", c.name, fold, err)
			}
		}
	}
}
