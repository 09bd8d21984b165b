package kernel

// Volume is the geometry of a 3-D convolution over one image [C,D,H,W]: a Window in every slice, and the same of the depth.
type Volume struct {
	Window
	D, KD, SD, DD, Front, OD int // input, kernel, stride, dilation, pad before and output of the depth
}

// Flat returns a window as a volume of one slice.
func (g Window) Flat() Volume { return Volume{Window: g, D: 1, KD: 1, SD: 1, DD: 1, OD: 1} }

// Valid reports what Window.Valid does, of the depth too.
func (v *Volume) Valid() bool {
	return v.Window.Valid() && v.D >= 0 && v.OD >= 0 && v.KD > 0 && v.SD > 0 && v.DD > 0 && v.Front >= 0
}

// pointwise tells that every output meets one place of the input, the one where it lies itself.
func (v *Volume) pointwise() bool {
	return v.Window.pointwise() && v.KD == 1 && v.SD == 1 && v.Front == 0 && v.OD == v.D
}
