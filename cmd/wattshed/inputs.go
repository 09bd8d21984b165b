package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
)

// imageFlags say how images become inputs.
func imageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "size", Usage: "of images: height and width of the input", DefaultText: "the model's own"},
		&cli.IntFlag{Name: "resize", Usage: "of images: scale the short side to this, then cut out the centre", DefaultText: "the size"},
		&cli.StringFlag{Name: "fit", Usage: "of images: crop or stretch (default crop)"},
		&cli.StringFlag{Name: "mean", Usage: "of images: what is taken off values from 0 to 1, `R,G,B` or one for all"},
		&cli.StringFlag{Name: "std", Usage: "of images: what they are then divided by, `R,G,B` or one for all"},
		&cli.StringFlag{Name: "layout", Usage: "of images: nchw or nhwc (default what the model's input says)"},
		&cli.StringFlag{Name: "channels", Usage: "of images: rgb, bgr or gray (default rgb)"},
	}
}

// onImages sets what imageFlags say. The flags of images are refused where the inputs are none.
func onImages(c *cli.Context, in *recipe.InputsSpec, images bool) (err error) {
	if !images {
		for _, f := range imageFlags() {
			if name := f.Names()[0]; c.IsSet(name) {
				return usagef("--%s: only images have it", name)
			}
		}
		return nil
	}
	in.Size, in.Resize, in.Fit, in.Layout, in.Channels = c.Int("size"), c.Int("resize"), c.String("fit"), c.String("layout"), c.String("channels")
	if in.Mean, err = numbers(c, "mean"); err != nil {
		return err
	}
	in.Std, err = numbers(c, "std")
	return err
}

func numbers(c *cli.Context, name string) ([]float64, error) {
	if c.String(name) == "" {
		return nil, nil
	}
	var out []float64
	for _, s := range strings.Split(c.String(name), ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil {
			return nil, usagef("--%s: %q: %q is no number", name, c.String(name), s)
		}
		out = append(out, v)
	}
	return out, nil
}

// isArrays reports whether the name is one of a .npz file.
func isArrays(name string) bool { return strings.EqualFold(filepath.Ext(name), ".npz") }

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
