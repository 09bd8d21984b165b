package task

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestImagesAsPillow compares scaling and cutting with Pillow's bicubic resize of floats. Ours are rounded to bytes: half a step, and a
// step where the two differ in the last bits of weights.
func TestImagesAsPillow(t *testing.T) {
	want := readFixture(t, "testdata/image.npz")
	for name, m := range map[string]*Images{
		"crop":    {Files: []string{"testdata/image.png"}, Size: 24, Resize: 32},
		"stretch": {Files: []string{"testdata/image.png"}, Size: 20, Stretch: true},
	} {
		m.Layout = "nhwc"
		if err := m.Bind([]*model.Value{value("x", model.Float32, free("n"), free("h"), free("w"), fixed(3))}); err != nil {
			t.Fatal(err)
		}
		f, _, err := m.Feed(0, 1)
		if err != nil {
			t.Fatal(err)
		}
		x, err := f["x"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		ref, err := want.Arrays[name].Float32()
		if err != nil || len(ref) != len(x) {
			t.Fatal(err, len(ref), len(x))
		}
		worst := 0.0
		for i := range x {
			worst = max(worst, math.Abs(float64(x[i]*255-ref[i])))
		}
		t.Logf("%s: at most %.2f of 255 away", name, worst)
		if worst > 1 {
			t.Errorf("%s: %v of 255 away", name, worst)
		}
	}
}

// TestImagesNormalized takes two plain colours through every layout, order of channels and element type.
func TestImagesNormalized(t *testing.T) {
	dir := t.TempDir()
	img := image.NewNRGBA(image.Rect(3, 5, 11, 13))
	for i := range img.Pix {
		img.Pix[i] = []byte{200, 100, 50, 255}[i%4]
	}
	clear := image.NewNRGBA(image.Rect(0, 0, 4, 6)) // transparent: white
	writePNG(t, filepath.Join(dir, "a.png"), img)
	writePNG(t, filepath.Join(dir, "b.png"), clear)
	files := []string{filepath.Join(dir, "a.png"), filepath.Join(dir, "b.png")}
	feed := func(m *Images, v *model.Value) *model.Tensor {
		t.Helper()
		m.Files = files
		if err := m.Bind([]*model.Value{v}); err != nil {
			t.Fatal(err)
		}
		f, _, err := m.Feed(0, 2)
		if err != nil {
			t.Fatal(err)
		}
		return f["x"]
	}
	near := func(got, want float32) bool { return math.Abs(float64(got-want)) < 1e-6 }
	x := feed(&Images{Size: 2, Mean: []float64{0.5, 0.25, 0}, Std: []float64{0.5}}, value("x", model.Float32, free("n"), fixed(3), free("h"), fixed(2)))
	v, _ := x.Float32()
	if !reflect.DeepEqual(x.Shape(), []int{2, 3, 2, 2}) || !near(v[0], (200/255.-0.5)/0.5) || !near(v[4], (100/255.-0.25)/0.5) || !near(v[11], 50/255./0.5) || !near(v[12], 1) {
		t.Errorf("nchw: %v %v", x.Shape(), v)
	}
	x = feed(&Images{Channels: "bgr", Layout: "nhwc"}, value("x", model.Uint8, free("n"), fixed(3), fixed(2), fixed(3)))
	if b, _ := x.Bytes(); !reflect.DeepEqual(x.Shape(), []int{2, 3, 2, 3}) || !bytes.Equal(b[:6], []byte{50, 100, 200, 50, 100, 200}) || b[18] != 255 {
		t.Errorf("uint8 bgr nhwc: %v %v", x.Shape(), b)
	}
	for want, shape := range map[int]model.Shape{3: {free("n"), fixed(2), fixed(2), fixed(3)}, 2: {free("n"), fixed(3), fixed(2), fixed(2)}} { // channels last or second, by the model
		if x = feed(&Images{}, value("x", model.Uint8, shape...)); x.Shape()[3] != want {
			t.Errorf("without a layout %s becomes %v", shape, x.Shape())
		}
	}
	x = feed(&Images{Channels: "gray"}, value("x", model.Float16, free("n"), fixed(1), fixed(2), fixed(2)))
	want := color.GrayModel.Convert(color.RGBA{200, 100, 50, 255}).(color.Gray).Y
	if v, _ := x.Float32(); math.Abs(float64(v[0])-float64(want)/255) > 5e-4 { // half precision
		t.Errorf("gray: %v, want %d of 255", v, want)
	}
}

func writePNG(t testing.TB, path string, img image.Image) {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestListImages finds labels in folders, in the order of their numbers and taking turns, in the three formats.
func TestListImages(t *testing.T) {
	dir := t.TempDir()
	img := image.NewGray(image.Rect(0, 0, 2, 2))
	for _, name := range []string{"0/a.png", "0/b.PNG", "180/a.png", "90/a.png", "90/b.png"} {
		writePNG(t, filepath.Join(dir, name), img)
	}
	var j, g bytes.Buffer
	if err := jpeg.Encode(&j, img, nil); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&g, img, nil); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"270/a.jpeg": j.Bytes(), "270/b.gif": g.Bytes(), "270/notes.txt": nil} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := ListImages(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range d.Examples {
		got = append(got, filepath.ToSlash(e.Text))
	}
	if want := []string{"0/a.png", "90/a.png", "180/a.png", "270/a.jpeg", "0/b.PNG", "90/b.png", "270/b.gif"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if l := d.Labels(); !reflect.DeepEqual(l, []string{"0", "90", "180", "270"}) {
		t.Errorf("labels %v", l)
	}
	files, err := d.Within(dir)
	if err != nil || len(d.SHA256) != 64 {
		t.Fatal(err, d.SHA256)
	}
	m := &Images{Files: files, Size: 2}
	if err := m.Bind([]*model.Value{value("x", model.Float32, free("n"), fixed(3), free("h"), free("w"))}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Feed(0, len(files)); err != nil {
		t.Error(err)
	}
	writePNG(t, filepath.Join(dir, "c.png"), img)
	if _, err := ListImages(dir); err == nil {
		t.Error("images beside folders of images")
	}
	if _, err := ListImages(filepath.Join(dir, "180")); err != nil {
		t.Errorf("a folder of images: %v", err)
	}
	if _, err := ListImages(t.TempDir()); err == nil {
		t.Error("a folder without images")
	}
	for _, name := range []string{"../a.png", "/etc/passwd", "a/../../b.png", ""} {
		if _, err := (&Dataset{Examples: []Example{{Text: name}}}).Within(dir); err == nil {
			t.Errorf("%q is below the folder", name)
		}
	}
}

// TestImagesRefuse: files that claim what they do not hold, and inputs that take no images.
func TestImagesRefuse(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 4))); err != nil {
		t.Fatal(err)
	}
	huge := bytes.Clone(b.Bytes()) // 1,000,000 pixels each way, in the header alone
	binary.BigEndian.PutUint32(huge[16:], 1e6)
	binary.BigEndian.PutUint32(huge[20:], 1e6)
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	frame := "GIF89a\x05\x00\x03\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x00\x00\x03\x00\x00\x02\x01\x2c\x00;" // 5 x 3, its frame 0 x 3
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{"empty frame": {[]byte(frame), "no pixels"}, "huge": {huge, "1000000 x 1000000 pixels"}, "cut": {b.Bytes()[:50], "not enough pixel data"}, "text": {[]byte("hello"), "unknown format"}} {
		if _, err := DecodeImage(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	ok := value("x", model.Float32, free("n"), fixed(3), free("h"), free("w"))
	for _, c := range []struct {
		name string
		m    *Images
		in   []*model.Value
		want string
	}{
		{"two inputs", &Images{}, []*model.Value{ok, ok}, "one input"},
		{"rank", &Images{}, []*model.Value{value("x", model.Float32, free("n"), free("w"))}, "4 dimensions"},
		{"integers", &Images{}, []*model.Value{value("x", model.Int64, free("n"), fixed(3), free("h"), free("w"))}, "int64"},
		{"no size", &Images{}, []*model.Value{ok}, "not fixed"},
		{"size", &Images{Size: 3}, []*model.Value{value("x", model.Float32, free("n"), fixed(3), fixed(2), fixed(2))}, "no place for 3"},
		{"channels", &Images{Size: 3, Channels: "gray"}, []*model.Value{ok}, "no place for 1"},
		{"layout", &Images{Size: 4, Layout: "nhwc"}, []*model.Value{ok}, "no place"},
		{"mean", &Images{Size: 3, Mean: []float64{1, 2}}, []*model.Value{ok}, "2 values"},
		{"bytes", &Images{Size: 3, Mean: []float64{1}}, []*model.Value{value("x", model.Uint8, free("n"), fixed(3), free("h"), free("w"))}, "without mean"},
		{"resize", &Images{Size: 3, Resize: 2}, []*model.Value{ok}, "smaller than"},
	} {
		if err := c.m.Bind(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestImagesAtOnce: goroutines that feed from the same images get what one alone gets.
func TestImagesAtOnce(t *testing.T) {
	dir := t.TempDir()
	m := &Images{Size: 2}
	for i := range 250 {
		img := image.NewGray(image.Rect(0, 0, 2, 2))
		img.SetGray(0, 0, color.Gray{Y: uint8(i)})
		m.Files = append(m.Files, filepath.Join(dir, strconv.Itoa(i)+".png"))
		writePNG(t, m.Files[i], img)
	}
	if err := m.Bind([]*model.Value{value("x", model.Float32, free("n"), fixed(3), free("h"), free("w"))}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range m.Files {
				f, _, err := m.Feed(i, i+1)
				if err != nil {
					t.Error(err)
					return
				}
				x, err := f["x"].Float32()
				if want := float32(float64(i) / 255); err != nil || x[0] != want {
					t.Errorf("image %d: %v, %v, want %v", i, x, err, want)
				}
			}
		})
	}
	wg.Wait()
}

// endless is a file that grows as it is read.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestImageFileSize: what a file claims to be does not decide how much of it is read.
func TestImageFileSize(t *testing.T) {
	for _, size := range []int64{0, 10, maxImageFile, maxImageFile + 1} {
		if b, err := readImage(endless{}, size, "a.png"); err == nil || !strings.Contains(err.Error(), "want at most") {
			t.Errorf("%d bytes claimed: %d read, %v", size, len(b), err)
		}
	}
	if b, err := readImage(strings.NewReader("abc"), 7, "a.png"); err != nil || string(b) != "abc" {
		t.Errorf("a file that shrinks: %q, %v", b, err)
	}
	if _, err := readImageFile(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a folder: %v", err)
	}
}

// decider is a session of one value per example.
type decider struct {
	engine.Session
	values []float32
	at     int
}

func (d *decider) Outputs() []*model.Value {
	return []*model.Value{value("p", model.Float32, free("n"))}
}

func (d *decider) Run(_ context.Context, in engine.Feed, _ ...string) (engine.Feed, error) {
	n := in["x"].Shape()[0]
	d.at += n
	return engine.Feed{"p": model.FromSlice([]int{n}, d.values[d.at-n:d.at])}, nil
}

func TestAgreement(t *testing.T) {
	in := &Arrays{NPZ: &NPZ{Name: "a.npz", Arrays: map[string]*model.Tensor{"x": model.FromSlice([]int{4, 1}, make([]float32, 4))}}}
	if err := in.Bind([]*model.Value{value("x", model.Float32, free("n"), fixed(1))}); err != nil {
		t.Fatal(err)
	}
	a := &Agreement{Inputs: in, Batch: 3, Threshold: 0.5}
	if _, err := a.Score(context.Background(), &decider{}, nil); err == nil {
		t.Error("scored without a baseline")
	}
	if err := a.SetBaseline(context.Background(), &decider{values: []float32{0.1, 0.9, 0.4, 0.6}}, nil); err != nil {
		t.Fatal(err)
	}
	nan := float32(math.NaN())
	got, err := a.Score(context.Background(), &decider{values: []float32{0.4, 0.51, 0.6, nan}}, nil)
	if err != nil || !reflect.DeepEqual(got, []float64{1, 1, 0, 0}) {
		t.Errorf("%v, %v", got, err)
	}
	if len(got) != a.Len() || a.Kind() != "agreement" || a.Metric() == "" {
		t.Error(a)
	}
}
