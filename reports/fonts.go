package reports

import (
	"fmt"
	"sync"

	"codeberg.org/go-fonts/liberation/liberationsansbold"
	"codeberg.org/go-fonts/liberation/liberationsansregular"
	xfont "golang.org/x/image/font"
	"golang.org/x/image/font/opentype"
	"gonum.org/v1/plot/font"
	plottext "gonum.org/v1/plot/text"
)

// typeface is the family that plots are written in.
var typeface = font.Font{Typeface: "Liberation", Variant: "Sans"}

// textHandler measures and draws text in its regular and bold faces. The plot package's own has ten more, of which nothing here makes use
// and which would be 3.5 MB of the program: so that package itself is not imported. It panics where the bytes are no fonts, which the first
// plot of any test would show.
var textHandler = sync.OnceValue(func() plottext.Handler {
	var faces font.Collection
	for weight, ttf := range map[xfont.Weight][]byte{xfont.WeightNormal: liberationsansregular.TTF, xfont.WeightBold: liberationsansbold.TTF} {
		face, err := opentype.Parse(ttf)
		if err != nil {
			panic(fmt.Errorf("reports: embedded font: %w", err))
		}
		f := typeface
		f.Weight = weight
		faces = append(faces, font.Face{Font: f, Face: face})
	}
	return plottext.Plain{Fonts: font.NewCache(faces)}
})
