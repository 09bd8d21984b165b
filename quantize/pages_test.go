//go:build !static

package quantize_test

import (
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/go-fonts/liberation/liberationmonoregular"
	"codeberg.org/go-fonts/liberation/liberationsansbold"
	"codeberg.org/go-fonts/liberation/liberationsansregular"
	"codeberg.org/go-fonts/liberation/liberationserifregular"
	"golang.org/x/image/font"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// page is a rendered page of text, turned by a number of quarters, as the orientation model takes it.
type page struct {
	quarters int
	feed     engine.Feed
}

// pages renders n pages with words of the Brown corpus: four typefaces, sizes, inks, papers, one or two columns, noise. The
// quarters follow from the number of the page.
func pages(t testing.TB, n int, seed uint64) []page {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(asset(t, "D12/texts"), "c*"))
	var faces []*opentype.Font
	for _, ttf := range [][]byte{liberationserifregular.TTF, liberationsansregular.TTF, liberationmonoregular.TTF, liberationsansbold.TTF} {
		f, err := opentype.Parse(ttf)
		if err != nil {
			t.Fatal(err)
		}
		faces = append(faces, f)
	}
	var all []page
	for i := range n {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		text, err := os.ReadFile(files[rng.IntN(len(files))])
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(string(text))
		for k, w := range words {
			words[k] = w[:max(strings.LastIndexByte(w, '/'), 0)]
		}
		words = words[rng.IntN(len(words)/2):]
		face, err := opentype.NewFace(faces[rng.IntN(len(faces))], &opentype.FaceOptions{Size: 9 + 13*rng.Float64(), DPI: 72, Hinting: font.HintingNone})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page{i % 4, engine.Feed{"x": photograph(render(face, words, rng), i%4, rng)}})
	}
	return all
}

// render sets the words in one or two columns.
func render(face font.Face, words []string, rng *rand.Rand) *image.Gray {
	img := image.NewGray(image.Rect(0, 0, 440+rng.IntN(120), 440+rng.IntN(120)))
	draw.Draw(img, img.Rect, image.NewUniform(color.Gray{uint8(215 + rng.IntN(41))}), image.Point{}, draw.Src)
	d := &font.Drawer{Dst: img, Src: image.NewUniform(color.Gray{uint8(rng.IntN(70))}), Face: face}
	columns, margin := 1+rng.IntN(2), 20+rng.IntN(30)
	height := face.Metrics().Height.Mul(fixed.Int26_6(64 * (1 + rng.Float64()/2)))
	width := (img.Rect.Dx() - margin*(columns+1)) / columns
	for c := range columns {
		left := fixed.I(margin + c*(width+margin))
		for y := fixed.I(margin) + height; y < fixed.I(img.Rect.Dy()-margin); y += height {
			d.Dot = fixed.Point26_6{X: left, Y: y}
			for len(words) > 0 && d.Dot.X+d.MeasureString(words[0]) < left+fixed.I(width) {
				d.DrawString(words[0] + " ")
				words = words[1:]
			}
			if len(words) > 0 && d.MeasureString(words[0]) >= fixed.I(width) {
				words = words[1:]
			}
			if rng.IntN(8) == 0 {
				y += height // a paragraph
			}
		}
	}
	return img
}

// photograph turns the page by quarters, brings its short side to 256 pixels, cuts 224x224 out of the middle, adds noise and
// normalizes as the model's training did.
func photograph(img *image.Gray, quarters int, rng *rand.Rand) *model.Tensor {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	at := func(x, y int) float64 { return float64(img.Pix[min(max(y, 0), h-1)*img.Stride+min(max(x, 0), w-1)]) }
	scale := float64(min(w, h)) / 256
	mean, std := [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}
	noise := 12 * rng.Float64()
	tint := [3]float64{1, 1 - 0.08*rng.Float64(), 1 - 0.15*rng.Float64()}
	const size = 224
	x := make([]float32, 3*size*size)
	for i := range size {
		for j := range size {
			u, v := float64(j)-size/2+0.5, float64(i)-size/2+0.5
			for range quarters {
				u, v = v, -u
			}
			fx, fy := float64(w)/2+u*scale-0.5, float64(h)/2+v*scale-0.5
			x0, y0 := int(fx), int(fy)
			dx, dy := fx-float64(x0), fy-float64(y0)
			g := (at(x0, y0)*(1-dx)+at(x0+1, y0)*dx)*(1-dy) + (at(x0, y0+1)*(1-dx)+at(x0+1, y0+1)*dx)*dy
			g += noise * rng.NormFloat64()
			for c := range 3 {
				x[(c*size+i)*size+j] = float32((min(max(g*tint[c], 0), 255)/255 - mean[c]) / std[c])
			}
		}
	}
	return model.FromSlice([]int{1, 3, size, size}, x)
}
