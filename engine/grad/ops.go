package grad

import (
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Ops returns the kernels of the operators of Domain, to be given to a native runtime as engine.Options.Ops.
func Ops() map[string]engine.OpFunc {
	table := map[string]engine.OpFunc{
		"OnesLike": onesLike, "ZerosLike": zerosLike, "CastLike": castLike, "ReshapeLike": reshapeLike, "SumTo": sumTo,
		"TanhGrad": tanhGrad, "SigmoidGrad": sigmoidGrad, "ReluGrad": reluGrad, "GeluGrad": geluGrad, "ErfGrad": erfGrad,
		"ClipGrad": clipGrad, "ReduceGrad": reduceGrad, "SoftmaxGrad": softmaxGrad, "LogSoftmaxGrad": logSoftmaxGrad,
		"LayerNormGrad": layerNormGrad, "MatMulGrad": matMulGrad, "GatherGrad": gatherGrad,
		"ConcatGrad": concatGrad, "SliceGrad": sliceGrad,
		"LSTM": lstmForward, "LSTMGrad": lstmBackward, "GRU": gruForward, "GRUGrad": gruBackward,
		"CrossEntropy": crossEntropy, "CrossEntropyGrad": crossEntropyGrad,
		"BinaryCrossEntropy": binaryCrossEntropy, "BinaryCrossEntropyGrad": binaryCrossEntropyGrad,
		"KLDivergence": klDivergence, "KLDivergenceGrad": klDivergenceGrad,
	}
	out := make(map[string]engine.OpFunc, len(table))
	for op, f := range table {
		out[Domain+"::"+op] = f
	}
	return out
}

// f32 returns the elements and the shape of input i, which must be float32.
func f32(c *engine.Call, i int) ([]float32, []int, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, nil, err
	}
	x, err := model.Data[float32](t)
	if err != nil {
		return nil, nil, fmt.Errorf("input %d: %w", i, err)
	}
	return x, t.Shape(), nil
}

// optional is f32 for an input that may be omitted: nil.
func optional(c *engine.Call, i int) ([]float32, error) {
	if c.Arg(i) == nil {
		return nil, nil
	}
	x, _, err := f32(c, i)
	return x, err
}

// ints returns the elements of the integer input i as int64, nil when it is omitted.
func ints(c *engine.Call, i int) ([]int64, error) {
	t := c.Arg(i)
	if t == nil {
		return nil, nil
	}
	switch t.DType() {
	case model.Int64:
		return model.Data[int64](t)
	case model.Int32:
		x, err := model.Data[int32](t)
		if err != nil {
			return nil, err
		}
		out := make([]int64, len(x))
		for j, v := range x {
			out[j] = int64(v)
		}
		return out, nil
	}
	return nil, fmt.Errorf("input %d is %s, want an integer type: %w", i, t.DType(), model.ErrType)
}

// axisOf returns axis counted from the front.
func axisOf(axis int64, rank int) (int, error) {
	if axis < -int64(rank) || axis >= int64(rank) {
		return 0, fmt.Errorf("axis %d of rank %d", axis, rank)
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), nil
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// onesLike gives the derivative of the loss by itself, 1; the loss must be one element.
func onesLike(c *engine.Call) error {
	x, shape, err := f32(c, 0)
	if err != nil {
		return err
	}
	if len(x) != 1 {
		return fmt.Errorf("the loss has shape %v, want one element", shape)
	}
	y, err := engine.Out[float32](c, 0, shape)
	if err != nil {
		return err
	}
	y[0] = 1
	return nil
}

func zerosLike(c *engine.Call) error {
	_, shape, err := f32(c, 0)
	if err != nil {
		return err
	}
	y, err := engine.Out[float32](c, 0, shape)
	clear(y)
	return err
}

// castLike converts input 0 to the float type of input 1.
func castLike(c *engine.Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	like, err := c.Need(1)
	if err != nil {
		return err
	}
	if t.DType() == like.DType() {
		c.Set(0, t)
		return nil
	}
	x, err := t.Float32()
	if err != nil {
		return err
	}
	y, err := model.FromFloat32(like.DType(), t.Shape(), append([]float32(nil), x...))
	if err != nil {
		return err
	}
	c.Set(0, y)
	return nil
}

func reshapeLike(c *engine.Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	like, err := c.Need(1)
	if err != nil {
		return err
	}
	y, err := t.Reshape(like.Shape())
	if err != nil {
		return err
	}
	c.Set(0, y)
	return nil
}
