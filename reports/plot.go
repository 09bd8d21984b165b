package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// PlotDPI is the resolution of PNG plots.
const PlotDPI = 192

// plotWidth is the width of every plot in points; heights follow the number of variants.
const plotWidth = vg.Length(540)

// Plot is one picture of a report. When the result lacks its figures it is not drawn and Missing says why.
type Plot struct {
	Name    string // file name without extension, such as "latency"
	Title   string
	Alt     string // what the picture shows, in words
	Missing string

	subtitle string
	caption  string
	height   vg.Length // of the body
	body     func(c draw.Canvas)
}

// SVG writes the plot as a self-contained SVG file on white paper.
func (p Plot) SVG(w io.Writer) error {
	return p.render(w, func(width, height vg.Length) vg.CanvasWriterTo {
		return svgCanvas{vgsvg.New(width, height)}
	})
}

// PNG writes the plot as a PNG file at PlotDPI.
func (p Plot) PNG(w io.Writer) error {
	return p.render(w, func(width, height vg.Length) vg.CanvasWriterTo {
		return vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(PlotDPI))}
	})
}

// render draws the frame and the body. The drawing library panics on what it cannot draw; that ends
// here as an error and nothing is written.
func (p Plot) render(w io.Writer, canvas func(w, h vg.Length) vg.CanvasWriterTo) (err error) {
	if p.Missing != "" || p.body == nil {
		return fmt.Errorf("reports: plot %s: %s", p.Name, p.Missing)
	}
	defer func() {
		if e := recover(); e != nil {
			err = fmt.Errorf("reports: plot %s: %v", p.Name, e)
		}
	}()
	const margin = vg.Length(10)
	inner := plotWidth - 2*margin
	title, small := bold(text(sizeTitle, ink, draw.XLeft)), text(sizeSmall, muted, draw.XLeft)
	sub := wrap(p.subtitle, small, inner)
	foot := wrap(p.caption, small, inner)
	const line = sizeSmall * 1.3
	head := vg.Length(20) + vg.Length(len(sub))*line + 6
	bottom := vg.Length(len(foot))*line + 6
	height := 2*margin + head + p.height + bottom

	cw := canvas(plotWidth, height)
	c := draw.NewCanvas(cw, plotWidth, height)
	c.FillPolygon(paper, []vg.Point{{X: 0, Y: 0}, {X: plotWidth, Y: 0}, {X: plotWidth, Y: height}, {X: 0, Y: height}})
	y := height - margin - 8
	put(c, title, vg.Point{X: margin, Y: y}, fit(p.Title, title, inner))
	for i, s := range sub {
		put(c, small, vg.Point{X: margin, Y: y - 16 - vg.Length(i)*line}, s)
	}
	p.body(draw.Canvas{Canvas: cw, Rectangle: vg.Rectangle{
		Min: vg.Point{X: margin, Y: margin + bottom},
		Max: vg.Point{X: plotWidth - margin, Y: margin + bottom + p.height},
	}})
	for i, s := range foot {
		put(c, small, vg.Point{X: margin, Y: margin + bottom - 10 - vg.Length(i)*line}, s)
	}
	var buf bytes.Buffer
	if _, err := cw.WriteTo(&buf); err != nil {
		return fmt.Errorf("reports: plot %s: %w", p.Name, err)
	}
	_, err = w.Write(buf.Bytes())
	return err
}

// svgCanvas names fallback families for readers without the Liberation fonts; Arimo, Arial and
// Helvetica have the same widths.
type svgCanvas struct{ *vgsvg.Canvas }

// WriteTo writes the picture and returns the bytes written.
func (c svgCanvas) WriteTo(w io.Writer) (int64, error) {
	var buf bytes.Buffer
	if _, err := c.Canvas.WriteTo(&buf); err != nil {
		return 0, err
	}
	s := strings.ReplaceAll(buf.String(), "font-family:Liberation Sans;", "font-family:Liberation Sans,Arimo,Arial,Helvetica,sans-serif;")
	n, err := io.WriteString(w, s)
	return int64(n), err
}

// inlineSVG gives the plot as an svg element for a page: no prolog, sized by the page, described by
// Alt, its neutral colours as CSS variables.
func (p Plot) inlineSVG() (string, error) {
	var buf bytes.Buffer
	if err := p.SVG(&buf); err != nil {
		return "", err
	}
	s := buf.String()
	open := strings.Index(s, "<svg")
	if open < 0 {
		return "", fmt.Errorf("reports: plot %s: no svg element", p.Name)
	}
	s = s[open:]
	end := strings.Index(s, ">")
	view := ""
	if i := strings.Index(s[:end], "viewBox=\""); i >= 0 {
		v := s[i+len("viewBox=\"") : end]
		view, _, _ = strings.Cut(v, "\"")
	}
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="%s" viewBox="%s">`, xmlEscape(p.Alt), view)
	r := strings.NewReplacer(
		svgHex(paper), "none",
		svgHex(ink), "var(--ink)",
		svgHex(muted), "var(--muted)",
		svgHex(grid), "var(--grid)",
		svgHex(slate), "var(--slate)",
	)
	return head + r.Replace(s[end+1:]), nil
}

func xmlEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;").Replace(plain(s))
}
