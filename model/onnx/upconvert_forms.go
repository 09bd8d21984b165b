package onnx

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// upSoftmax: before 13 the input was flattened to two dimensions at axis, by default 1, and the whole second one
// normalised; from 13 on only dimension axis is, by default the last. The two agree where axis is the last dimension.
// Elsewhere the flattening is spelled out: Flatten, the operator on the last axis, and Reshape back.
func upSoftmax(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version != 13 {
		return keep(n)
	}
	if a := n.Attr("axis"); a != nil && a.Ref != "" {
		return nil, fmt.Errorf("%w: attribute %q is supplied by the function's caller", model.ErrUnsupported, "axis")
	}
	axis := n.Int("axis", 1)
	rank := -1
	if s := u.typeOf(n.In(0)).Shape; s != nil {
		rank = len(s)
	}
	if axis == -1 || axis == int64(rank)-1 {
		n.SetAttr(model.IntAttr("axis", -1))
		return keep(n)
	}
	if axis < 0 && rank >= 0 {
		axis += int64(rank)
	}
	x, y := n.In(0), n.Out(0)
	flat, soft, shape := u.name(y+"_flat"), u.name(y+"_flat_out"), u.name(y+"_shape")
	n.Inputs, n.Outputs = []string{flat}, []string{soft}
	n.SetAttr(model.IntAttr("axis", -1))
	return []*model.Node{
		{Op: "Shape", Inputs: []string{x}, Outputs: []string{shape}},
		{Op: "Flatten", Inputs: []string{x}, Outputs: []string{flat}, Attrs: []model.Attr{model.IntAttr("axis", axis)}},
		n,
		{Op: "Reshape", Inputs: []string{soft, shape}, Outputs: []string{y}},
	}, nil
}

// upUpsample: scales became an input at 9, and the operator was replaced by Resize at 10.
func upUpsample(u *upConverter, n *model.Node) ([]*model.Node, error) {
	switch u.version {
	case 9:
		a, err := take(n, "scales")
		if err != nil {
			return nil, err
		}
		if a == nil {
			return nil, fmt.Errorf("attribute %q is missing", "scales")
		}
		setInput(n, 1, u.constant(label(n)+"_scales", model.FromSlice([]int{len(a.Floats)}, a.Floats)))
	case 10:
		n.Op = "Resize"
	default:
		if u.version > 10 {
			return nil, fmt.Errorf("%w: the operator went at opset 10", model.ErrUnsupported)
		}
	}
	return keep(n)
}

// upResize: at 11 the operator took a region of interest as input 1, and its way of mapping coordinates became an
// attribute; opset 10 has the mapping "asymmetric" and rounds down.
func upResize(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version != 11 {
		return keep(n)
	}
	roi := u.constant(label(n)+"_roi", model.FromSlice([]int{0}, []float32{}))
	n.Inputs = []string{n.In(0), roi, n.In(1)}
	n.SetAttr(model.StringAttr("coordinate_transformation_mode", "asymmetric"))
	if n.Str("mode", "nearest") == "nearest" {
		n.SetAttr(model.StringAttr("nearest_mode", "floor"))
	}
	return keep(n)
}

// upScan: opset 8 had a batch dimension and sequence lengths.
func upScan(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version == 9 {
		return nil, fmt.Errorf("%w: its batch dimension went at opset 9", model.ErrUnsupported)
	}
	return keep(n)
}

// upScatter: renamed at 11.
func upScatter(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version == 11 {
		n.Op = "ScatterElements"
	}
	return keep(n)
}

// upRoiAlign: the mapping of coordinates became an attribute at 16, with another default.
func upRoiAlign(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version == 16 {
		n.SetAttr(model.StringAttr("coordinate_transformation_mode", "output_half_pixel"))
	}
	return keep(n)
}

// upGridSample: modes were renamed at 20.
func upGridSample(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version == 20 {
		switch n.Str("mode", "bilinear") {
		case "bilinear":
			n.SetAttr(model.StringAttr("mode", "linear"))
		case "bicubic":
			n.SetAttr(model.StringAttr("mode", "cubic"))
		}
	}
	return keep(n)
}

// upDFT: axis, by default 1, became input 2 at 20, by default -2.
func upDFT(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version != 20 {
		return keep(n)
	}
	a, err := take(n, "axis")
	if err != nil {
		return nil, err
	}
	axis := int64(1)
	if a != nil {
		axis = a.I
	}
	setInput(n, 2, u.constant(label(n)+"_axis", model.Scalar(axis)))
	return keep(n)
}

// upGroupNormalization: scale and bias were per group at 18 and are per channel from 21 on.
func upGroupNormalization(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version == 21 {
		return nil, fmt.Errorf("%w: its scale is per channel from opset 21 on", model.ErrUnsupported)
	}
	return keep(n)
}
