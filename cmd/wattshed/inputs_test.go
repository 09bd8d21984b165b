package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// pictures fills dir with colours.onnx, which tells by the mean of its channels whether an image is red, green or blue; colours, a
// folder of 12 images in folders by colour; and colours.npz, the same pixels with their labels.
func pictures(dir string) error {
	v := func(name string, shape ...model.Dim) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: shape}}
	}
	n, side := model.Dim{Size: -1, Param: "n"}, model.Dim{Size: 8}
	g := &model.Graph{Name: "colours", Inputs: []*model.Value{v("x", n, model.Dim{Size: 3}, side, side)}, Outputs: []*model.Value{v("y", n, model.Dim{Size: 3})},
		Nodes: []*model.Node{
			{Op: "Conv", Name: "conv", Inputs: []string{"x", "w"}, Outputs: []string{"c"}},
			{Op: "Relu", Name: "relu", Inputs: []string{"c"}, Outputs: []string{"r"}},
			{Op: "GlobalAveragePool", Name: "pool", Inputs: []string{"r"}, Outputs: []string{"p"}},
			{Op: "Flatten", Name: "flatten", Inputs: []string{"p"}, Outputs: []string{"y"}},
		}, Model: &model.Info{IRVersion: 8}}
	g.SetOpset("", 17)
	w := make([]float32, 3*3*9)
	for o := range 3 {
		for c := range 3 {
			w[(o*3+c)*9+4] = -0.5
		}
		w[(o*3+o)*9+4] = 1
	}
	g.Nodes[0].SetAttr(model.IntsAttr("pads", 1, 1, 1, 1))
	g.SetInitializer("w", model.FromSlice([]int{3, 3, 3, 3}, w))
	if err := onnx.Save(filepath.Join(dir, "colours.onnx"), g, onnx.WriteOptions{}); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(5, 5))
	var pixels, labels bytes.Buffer
	for i := range 12 {
		img := image.NewNRGBA(image.Rect(0, 0, 8, 8))
		for p := range 64 {
			rgb := [3]uint8{uint8(rng.IntN(120)), uint8(rng.IntN(120)), uint8(rng.IntN(120))}
			rgb[i%3] += 100
			img.Set(p%8, p/8, color.NRGBA{rgb[0], rgb[1], rgb[2], 255})
		}
		for c := range 3 {
			for p := range 64 {
				binary.Write(&pixels, binary.LittleEndian, math.Float32bits(float32(img.Pix[4*p+c])/255))
			}
		}
		binary.Write(&labels, binary.LittleEndian, int64(i%3))
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			return err
		}
		folder := filepath.Join(dir, "colours", []string{"red", "green", "blue"}[i%3])
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.png", i)), b.Bytes(), 0o666); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, a := range []struct {
		name, header string
		data         []byte
	}{
		{"x", "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 3, 8, 8), }\n", pixels.Bytes()},
		{"label", "{'descr': '<i8', 'fortran_order': False, 'shape': (12,), }\n", labels.Bytes()},
	} {
		f, err := z.Create(a.name + ".npy")
		if err != nil {
			return err
		}
		head := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(a.header)))
		if _, err := f.Write(append(append(head, a.header...), a.data...)); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "colours.npz"), b.Bytes(), 0o666)
}
