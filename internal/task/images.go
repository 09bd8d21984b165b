package task

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // the formats that are decoded
	_ "image/jpeg"
	_ "image/png"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/image/draw"
	"golang.org/x/image/math/f64"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Caps on images from outside.
const (
	maxImageFile   = 64 << 20
	maxImagePixels = 1 << 26
	MaxImageSide   = 1 << 13   // of what a model takes
	maxImageCache  = 256 << 20 // prepared pixels that are kept
)

// imageSuffixes are the files of a folder that are taken.
var imageSuffixes = []string{".png", ".jpg", ".jpeg", ".gif"}

// Images makes the input of a model from image files: scaled (bicubic over as many pixels as shrinking joins), cut, divided by
// 255, then (v-Mean)/Std by channel. Transparent pixels lie on white.
type Images struct {
	Name     string
	Files    []string
	Size     int       // height and width of the input, where the model does not fix them
	Resize   int       // what the short side is scaled to before the centre is cut out; 0 = the input's own side
	Stretch  bool      // the whole image is scaled to the input's height and width instead
	Mean     []float64 // by channel; none = 0
	Std      []float64 // by channel; none = 1
	Layout   string    // nchw or nhwc; "" is what the input's channels say, nchw where they say nothing
	Channels string    // rgb (default), bgr or gray

	input         string
	dtype         model.DType
	height, width int
	depth         int
	mu            sync.Mutex // guards cache
	cache         map[int][]float32
}

var _ Inputs = (*Images)(nil)

// ListImages returns the images of a folder by their paths from it, with a label each. In a folder of folders the label is the
// name of the folder that an image lies in, and the labels take turns, so that the first n have some of all; in a folder of images
// there are none ("").
func ListImages(dir string) (*Dataset, error) {
	d := &Dataset{Name: filepath.Base(dir)}
	by := map[string][]string{}
	var labels []string
	take := func(folder, label string) error {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() || !slices.Contains(imageSuffixes, strings.ToLower(filepath.Ext(e.Name()))) {
				continue
			}
			if by[label] == nil {
				labels = append(labels, label)
			}
			by[label] = append(by[label], filepath.Join(label, e.Name()))
		}
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if err := take(dir, ""); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := take(filepath.Join(dir, e.Name()), e.Name()); err != nil {
			return nil, err
		}
	}
	if len(labels) > 1 && labels[0] == "" {
		return nil, fmt.Errorf("task: %s: images beside folders of images: want either", dir)
	}
	slices.SortFunc(labels, compareLabels)
	for i := 0; ; i++ {
		any := false
		for _, l := range labels {
			if i < len(by[l]) {
				any = true
				d.Examples = append(d.Examples, Example{ID: by[l][i], Text: by[l][i], Label: l})
			}
		}
		if !any {
			break
		}
		if len(d.Examples) > maxExamples {
			return nil, fmt.Errorf("task: %s: more than %d images", dir, maxExamples)
		}
	}
	if len(d.Examples) == 0 {
		return nil, fmt.Errorf("task: %s: no images (%s)", dir, strings.Join(imageSuffixes, ", "))
	}
	return d, nil
}

// digestFiles makes the digest of the data set from labels and contents of the files that Text names.
func (d *Dataset) digestFiles(dir string) error {
	h := sha256.New()
	for _, e := range d.Examples {
		b, err := readImageFile(filepath.Join(dir, e.Text))
		if err != nil {
			return fmt.Errorf("task: %w", err)
		}
		fmt.Fprintf(h, "%q %q %x\n", e.Text, e.Label, sha256.Sum256(b))
	}
	d.SHA256 = hex.EncodeToString(h.Sum(nil))
	return nil
}

// Within returns the paths of the examples' texts from dir and makes the digest one of those files' contents: all are read. A path that leads out
// of dir is an error naming it.
func (d *Dataset) Within(dir string) ([]string, error) {
	out := make([]string, len(d.Examples))
	for i, e := range d.Examples {
		if !fs.ValidPath(filepath.ToSlash(e.Text)) || !filepath.IsLocal(e.Text) {
			return nil, fmt.Errorf("task: %s: example %d: %.80q is no file below %s", d.Name, i+1, e.Text, dir)
		}
		out[i] = filepath.Join(dir, e.Text)
	}
	return out, d.digestFiles(dir)
}

// readImageFile reads a regular file of at most maxImageFile bytes, whatever becomes of it meanwhile.
func readImageFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, fmt.Errorf("%s: is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is no file", path)
	}
	return readImage(f, info.Size(), path)
}

// readImage reads an image of about size bytes, and no more than maxImageFile.
func readImage(r io.Reader, size int64, path string) ([]byte, error) {
	if size <= maxImageFile {
		var b bytes.Buffer
		b.Grow(int(size) + bytes.MinRead)
		n, err := b.ReadFrom(io.LimitReader(r, maxImageFile+1))
		if err != nil {
			return nil, err
		}
		size = n
		if n <= maxImageFile {
			return b.Bytes(), nil
		}
	}
	return nil, fmt.Errorf("%s: %d bytes: want at most %d", path, size, maxImageFile)
}

// DecodeImage decodes a PNG, JPEG or GIF (its first frame) of at most 67 million pixels; the size is read before anything is allocated.
func DecodeImage(b []byte) (image.Image, error) {
	c, _, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxImagePixels/c.Height {
		return nil, fmt.Errorf("%d x %d pixels: at most %d are read", c.Width, c.Height, maxImagePixels)
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err == nil && img.Bounds().Empty() { // a frame of a GIF has a size of its own
		return nil, errors.New("no pixels")
	}
	return img, err
}

// Bind finds the input of the model that takes images, with its height and width: those that the model fixes, else Size.
func (m *Images) Bind(inputs []*model.Value) error {
	if len(inputs) != 1 {
		return fmt.Errorf("task: images need a model of one input, this one has %d", len(inputs))
	}
	v := inputs[0]
	m.input, m.dtype = v.Name, v.Type.DType
	m.depth = 3
	if m.Channels == "gray" {
		m.depth = 1
	}
	if s := v.Type.Shape; s != nil && len(s) != 4 {
		return fmt.Errorf("task: input %q is %s, images are of 4 dimensions", v.Name, s)
	}
	switch m.dtype {
	case model.Float32, model.Float16, model.Float64, model.BFloat16:
	case model.Uint8:
		if m.Mean != nil || m.Std != nil {
			return fmt.Errorf("task: input %q is uint8: it takes pixels as they are, without mean and std", v.Name)
		}
	default:
		return fmt.Errorf("task: input %q is %s, images are floats or uint8", v.Name, m.dtype)
	}
	if s, n := v.Type.Shape, int64(m.depth); m.Layout == "" && s != nil && s[3].Size == n && s[1].Size != n {
		m.Layout = "nhwc"
	}
	c, y, x := 1, 2, 3
	if m.Layout == "nhwc" {
		c, y, x = 3, 1, 2
	}
	side := func(axis, given int) (int, error) {
		if s := v.Type.Shape; s != nil && s[axis].Known() {
			if given != 0 && int64(given) != s[axis].Size {
				return 0, fmt.Errorf("task: input %q is %s: no place for %d in dimension %d", v.Name, s, given, axis)
			}
			given = int(s[axis].Size)
		}
		if given < 1 || given > MaxImageSide {
			return 0, fmt.Errorf("task: input %q: dimension %d is not fixed by the model or by size", v.Name, axis)
		}
		return given, nil
	}
	var err error
	if m.height, err = side(y, m.Size); err != nil {
		return err
	}
	if m.width, err = side(x, m.Size); err != nil {
		return err
	}
	if _, err = side(c, m.depth); err != nil {
		return err
	}
	for _, list := range [][]float64{m.Mean, m.Std} {
		if len(list) > 1 && len(list) != m.depth {
			return fmt.Errorf("task: %d values of mean or std for %d channels", len(list), m.depth)
		}
	}
	if m.Resize > 0 && m.Resize < min(m.height, m.width) {
		return fmt.Errorf("task: images resized to %d are smaller than the input's %d x %d", m.Resize, m.height, m.width)
	}
	return nil
}

// Len is the number of images.
func (m *Images) Len() int { return len(m.Files) }

// Describe names the folder.
func (m *Images) Describe() string { return fmt.Sprintf("%d images of %s", len(m.Files), m.Name) }

// Feed returns the images from to to-1; it may be called by several goroutines at once.
func (m *Images) Feed(from, to int) (engine.Feed, *model.Tensor, error) {
	var x []float32
	for i := from; i < to; i++ {
		p, err := m.pixels(i)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", m.Files[i], err)
		}
		x = append(x, p...)
	}
	shape := []int{to - from, m.depth, m.height, m.width}
	if m.Layout == "nhwc" {
		shape = []int{to - from, m.height, m.width, m.depth}
	}
	if m.dtype == model.Uint8 {
		b := make([]uint8, len(x))
		for i, v := range x {
			b[i] = uint8(math.Round(float64(v) * 255))
		}
		return engine.Feed{m.input: model.FromSlice(shape, b)}, nil, nil
	}
	t, err := model.FromFloat32(m.dtype, shape, x)
	return engine.Feed{m.input: t}, nil, err
}

// pixels are the prepared values of image i, kept as far as there is room.
func (m *Images) pixels(i int) ([]float32, error) {
	m.mu.Lock()
	p, ok := m.cache[i]
	m.mu.Unlock()
	if ok {
		return p, nil
	}
	b, err := readImageFile(m.Files[i])
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, err
	}
	img, err := DecodeImage(b)
	if err != nil {
		return nil, err
	}
	p = m.prepare(img)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cache == nil {
		m.cache = map[int][]float32{}
	}
	if (len(m.cache)+1)*len(p)*4 <= maxImageCache {
		m.cache[i] = p
	}
	return p, nil
}

// prepare scales, cuts and normalizes one image. The output pixel (u, v) shows the point s·(u-W/2)+w/2 of the image, where s is
// the image's short side over Resize.
func (m *Images) prepare(img image.Image) []float32 {
	b := img.Bounds()
	w, h := float64(b.Dx()), float64(b.Dy())
	sx, sy := float64(m.width)/w, float64(m.height)/h
	if !m.Stretch {
		sx = max(sx, sy) // covers the input
		if m.Resize > 0 {
			sx = float64(m.Resize) / min(w, h)
		}
		sx = max(sx, float64(m.width)/w, float64(m.height)/h)
		sy = sx
	}
	to := image.NewRGBA(image.Rect(0, 0, m.width, m.height))
	draw.Draw(to, to.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	cx, cy := float64(b.Min.X)+w/2, float64(b.Min.Y)+h/2
	draw.CatmullRom.Transform(to, f64.Aff3{sx, 0, float64(m.width)/2 - sx*cx, 0, sy, float64(m.height)/2 - sy*cy}, img, b, draw.Over, nil)
	out := make([]float32, m.depth*m.height*m.width)
	area := m.height * m.width
	for i := range area {
		px := to.Pix[4*i : 4*i+3]
		if m.depth == 1 { // ITU-R BT.601, as image/color has it
			y := (19595*uint32(px[0]) + 38470*uint32(px[1]) + 7471*uint32(px[2]) + 1<<15) >> 16
			out[i] = m.normal(uint8(y), 0)
			continue
		}
		for c := range 3 {
			v := px[c]
			if m.Channels == "bgr" {
				v = px[2-c]
			}
			at := c*area + i
			if m.Layout == "nhwc" {
				at = 3*i + c
			}
			out[at] = m.normal(v, c)
		}
	}
	return out
}

func (m *Images) normal(v uint8, c int) float32 {
	x := float64(v) / 255
	if len(m.Mean) > 0 {
		x -= m.Mean[min(c, len(m.Mean)-1)]
	}
	if len(m.Std) > 0 {
		x /= m.Std[min(c, len(m.Std)-1)]
	}
	return float32(x)
}

// compareLabels orders labels: decimal numbers by value and before words, words by their bytes.
func compareLabels(a, b string) int {
	na, nb := isNumber(a), isNumber(b)
	switch {
	case na && nb && len(a) != len(b):
		return len(a) - len(b)
	case na != nb && na:
		return -1
	case na != nb:
		return 1
	}
	return strings.Compare(a, b)
}

func isNumber(s string) bool {
	return s != "" && len(s) < 10 && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}
