//go:build !static

package quantize_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/engine"
	rendered "github.com/wattshed/wattshed/internal/pages"
	"github.com/wattshed/wattshed/model"
)

// page is a rendered page of text, turned by a number of quarters, as the orientation model takes it.
type page struct {
	quarters int
	feed     engine.Feed
}

// pages renders n pages with words of the Brown corpus, normalized as the model's training did. The quarters follow from the number
// of the page.
func pages(t testing.TB, n int, seed uint64) []page {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(asset(t, "D12/texts"), "c*"))
	var texts []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	list, err := rendered.Render(texts, n, seed)
	if err != nil {
		t.Fatal(err)
	}
	mean, std := [3]float64{0.485, 0.456, 0.406}, [3]float64{0.229, 0.224, 0.225}
	const area = rendered.Side * rendered.Side
	var all []page
	for _, p := range list {
		x := make([]float32, 3*area)
		for i := range area {
			for c := range 3 {
				x[c*area+i] = float32((float64(p.Image.Pix[4*i+c])/255 - mean[c]) / std[c])
			}
		}
		all = append(all, page{p.Quarters, engine.Feed{"x": model.FromSlice([]int{1, 3, rendered.Side, rendered.Side}, x)}})
	}
	return all
}
