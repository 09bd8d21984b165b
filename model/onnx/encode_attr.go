package onnx

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

func (e *encoder) attr(a *model.Attr) (*message, error) {
	var m message
	m.str(1, a.Name)
	if a.Ref == "" {
		if err := e.attrValue(&m, a); err != nil {
			return nil, err
		}
	}
	m.str(13, a.Doc)
	if a.Kind != model.AttrNone {
		m.int(20, int64(a.Kind))
	}
	m.str(21, a.Ref)
	m.records(a.Raw)
	return &m, nil
}

func (e *encoder) attrValue(m *message, a *model.Attr) error {
	extra := func(i int) model.TensorExtra {
		if i < len(a.TExtra) {
			return a.TExtra[i]
		}
		return model.TensorExtra{}
	}
	switch a.Kind {
	case model.AttrFloat:
		m.float(2, a.F)
	case model.AttrInt:
		m.int(3, a.I)
	case model.AttrString:
		m.bytes(4, a.S)
	case model.AttrTensor:
		c, err := e.tensor(a.T, extra(0), nil)
		if err != nil {
			return err
		}
		m.message(5, c)
	case model.AttrGraph:
		if a.G == nil {
			return fmt.Errorf("there is no graph")
		}
		c, err := e.graph(a.G)
		if err != nil {
			return err
		}
		m.message(6, c)
	case model.AttrFloats:
		for _, v := range a.Floats {
			m.float(7, v)
		}
	case model.AttrInts:
		m.ints(8, a.Ints)
	case model.AttrStrings:
		for _, s := range a.Strings {
			m.bytes(9, s)
		}
	case model.AttrTensors:
		for i, t := range a.Tensors {
			c, err := e.tensor(t, extra(i), nil)
			if err != nil {
				return err
			}
			m.message(10, c)
		}
	case model.AttrGraphs:
		for _, g := range a.Graphs {
			c, err := e.graph(g)
			if err != nil {
				return err
			}
			m.message(11, c)
		}
	}
	return nil
}
