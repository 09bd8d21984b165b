// Package pages renders pages of text, turned by quarters: test images whose labels are right by construction.
package pages

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
	"strings"

	"codeberg.org/go-fonts/liberation/liberationmonoregular"
	"codeberg.org/go-fonts/liberation/liberationsansbold"
	"codeberg.org/go-fonts/liberation/liberationsansregular"
	"codeberg.org/go-fonts/liberation/liberationserifregular"
	"golang.org/x/image/font"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Side is the width and height of a page's photograph in pixels.
const Side = 224

// Page is a photograph of the middle of a page of text that was turned clockwise.
type Page struct {
	Quarters int // 0 to 3
	Image    *image.NRGBA
}

// Render makes n pages of the words of texts, tagged as in the Brown corpus (word/tag): four typefaces, sizes, inks, papers, one
// or two columns, noise. Page i is turned by i mod 4 quarters; it depends on seed and i alone.
func Render(texts []string, n int, seed uint64) ([]Page, error) {
	var faces []*opentype.Font
	for _, ttf := range [][]byte{liberationserifregular.TTF, liberationsansregular.TTF, liberationmonoregular.TTF, liberationsansbold.TTF} {
		f, err := opentype.Parse(ttf)
		if err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		faces = append(faces, f)
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("pages: no texts")
	}
	var all []Page
	for i := range n {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		words := strings.Fields(texts[rng.IntN(len(texts))])
		for k, w := range words {
			words[k] = w[:max(strings.LastIndexByte(w, '/'), 0)]
		}
		if len(words) < 2 {
			return nil, fmt.Errorf("pages: a text of %d words", len(words))
		}
		words = words[rng.IntN(len(words)/2):]
		face, err := opentype.NewFace(faces[rng.IntN(len(faces))], &opentype.FaceOptions{Size: 9 + 13*rng.Float64(), DPI: 72, Hinting: font.HintingNone})
		if err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		all = append(all, Page{i % 4, photograph(set(face, words, rng), i%4, rng)})
	}
	return all, nil
}

// set sets the words in one or two columns.
func set(face font.Face, words []string, rng *rand.Rand) *image.Gray {
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

// photograph turns the page by quarters, brings its short side to 256 pixels, cuts the middle out and adds noise.
func photograph(img *image.Gray, quarters int, rng *rand.Rand) *image.NRGBA {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	at := func(x, y int) float64 { return float64(img.Pix[min(max(y, 0), h-1)*img.Stride+min(max(x, 0), w-1)]) }
	scale := float64(min(w, h)) / 256
	noise := 12 * rng.Float64()
	tint := [3]float64{1, 1 - 0.08*rng.Float64(), 1 - 0.15*rng.Float64()}
	out := image.NewNRGBA(image.Rect(0, 0, Side, Side))
	for i := range Side {
		for j := range Side {
			u, v := float64(j)-Side/2+0.5, float64(i)-Side/2+0.5
			for range quarters {
				u, v = v, -u
			}
			fx, fy := float64(w)/2+u*scale-0.5, float64(h)/2+v*scale-0.5
			x0, y0 := int(fx), int(fy)
			dx, dy := fx-float64(x0), fy-float64(y0)
			g := (at(x0, y0)*(1-dx)+at(x0+1, y0)*dx)*(1-dy) + (at(x0, y0+1)*(1-dx)+at(x0+1, y0+1)*dx)*dy
			g += noise * rng.NormFloat64()
			px := out.Pix[i*out.Stride+4*j:]
			for c := range 3 {
				px[c] = uint8(min(max(g*tint[c], 0), 255) + 0.5)
			}
			px[3] = 255
		}
	}
	return out
}
