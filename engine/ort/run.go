//go:build !static

package ort

import (
	"context"
	"fmt"
	"strings"
	"unsafe"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Run computes the named outputs, all when none is named. Inputs are handed over without a copy; outputs
// are copied out of the library's memory.
func (s *session) Run(ctx context.Context, in engine.Feed, outputs ...string) (engine.Feed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.checkInputs(in); err != nil {
		return nil, err
	}
	if len(outputs) == 0 {
		for _, v := range s.outputs {
			outputs = append(outputs, v.Name)
		}
	}
	c := caller{lib: s.rt.lib}
	defer c.done()
	names, values := make([]uintptr, 0, len(in)), make([]uintptr, 0, len(in))
	got := make([]uintptr, len(outputs))
	defer func() {
		for _, v := range append(values, got...) {
			c.release(fnReleaseValue, v)
		}
	}()
	for _, v := range s.inputs {
		t, ok := in[v.Name]
		if !ok {
			continue
		}
		value, err := c.tensor(t)
		if err != nil {
			return nil, fmt.Errorf("ort: input %q: %w", v.Name, err)
		}
		names, values = append(names, c.str(v.Name)), append(values, value)
	}
	wanted := make([]uintptr, len(outputs))
	for i, name := range outputs {
		wanted[i] = c.str(name)
	}
	c.do(fnRun, s.handle, 0, c.words(names), c.words(values), uintptr(len(names)), c.words(wanted), uintptr(len(wanted)), c.words(got))
	if c.err != nil {
		return nil, c.err
	}
	out := engine.Feed{}
	for i, name := range outputs {
		t, err := c.fetch(got[i])
		if err != nil {
			return nil, fmt.Errorf("ort: output %q: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}

func (s *session) checkInputs(in engine.Feed) error {
	known := map[string]bool{}
	for _, v := range s.inputs {
		known[v.Name] = true
		t, ok := in[v.Name]
		if !ok {
			return fmt.Errorf("ort: input %q is missing", v.Name)
		}
		if t == nil {
			return fmt.Errorf("ort: input %q is nil", v.Name)
		}
		if v.Type.DType != model.Invalid && t.DType() != v.Type.DType {
			return fmt.Errorf("ort: input %q is %s, the model wants %s", v.Name, t.DType(), v.Type.DType)
		}
	}
	for name := range in {
		if !known[name] {
			return fmt.Errorf("ort: the model has no input %q", name)
		}
	}
	return nil
}

// tensor hands t over to the library.
func (c *caller) tensor(t *model.Tensor) (uintptr, error) {
	var v uintptr
	if t.DType() == model.String {
		strs, err := t.Strings()
		if err != nil {
			return 0, err
		}
		c.do(fnCreateTensorAsOrtValue, c.lib.allocator, c.dims(t.Shape()), uintptr(t.Rank()), uintptr(model.String), c.out(&v))
		ptrs := make([]uintptr, len(strs))
		for i, s := range strs {
			if strings.ContainsRune(s, 0) {
				return v, fmt.Errorf("ort: string %d holds a zero byte", i)
			}
			ptrs[i] = c.str(s)
		}
		c.do(fnFillStringTensor, v, c.words(ptrs), uintptr(len(ptrs)))
		return v, c.err
	}
	b, err := t.Bytes()
	if err != nil {
		return 0, err
	}
	c.do(fnCreateTensorWithData, c.lib.memory, c.bytes(b), uintptr(len(b)), c.dims(t.Shape()), uintptr(t.Rank()), uintptr(t.DType()), c.out(&v))
	return v, c.err
}

// fetch copies an output out of the library's memory.
func (c *caller) fetch(value uintptr) (*model.Tensor, error) {
	var isTensor uintptr
	c.do(fnIsTensor, value, c.out(&isTensor))
	if c.err == nil && isTensor&0xff == 0 {
		return nil, fmt.Errorf("ort: value that is no tensor: %w", model.ErrUnsupported)
	}
	var info, data uintptr
	c.do(fnGetTensorTypeAndShape, value, c.out(&info))
	if c.err != nil {
		return nil, c.err
	}
	dtype, dims := c.shapeOf(info)
	c.release(fnReleaseTensorShape, info)
	if c.err != nil {
		return nil, c.err
	}
	shape := make([]int, len(dims))
	for i, d := range dims {
		shape[i] = int(d)
	}
	n, err := model.NumElements(shape)
	if err != nil {
		return nil, err
	}
	if dtype == model.String {
		return c.fetchStrings(value, shape, n)
	}
	raw := make([]byte, dtype.Size(n))
	if len(raw) > 0 {
		c.do(fnGetTensorMutableData, value, c.out(&data))
		if c.err != nil {
			return nil, c.err
		}
		copy(raw, unsafe.Slice((*byte)(pointer(data)), len(raw)))
	}
	return model.NewTensor(dtype, shape, raw)
}

func (c *caller) fetchStrings(value uintptr, shape []int, n int) (*model.Tensor, error) {
	strs := make([]string, n)
	if n == 0 {
		return model.NewStrings(shape, strs)
	}
	var total uintptr
	c.do(fnGetStringTensorDataLength, value, c.out(&total))
	buf, offsets := make([]byte, total), make([]uintptr, n)
	c.do(fnGetStringTensorContent, value, c.bytes(buf), total, c.words(offsets), uintptr(n))
	if c.err != nil {
		return nil, c.err
	}
	for i := range strs {
		end := total
		if i+1 < n {
			end = offsets[i+1]
		}
		strs[i] = string(buf[offsets[i]:end])
	}
	return model.NewStrings(shape, strs)
}
