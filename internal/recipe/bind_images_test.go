package recipe

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestBindImages: a limit leaves images beyond it unread, and the classes those of all labels; every image of a classification has a
// label.
func TestBindImages(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "a", "1.png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	f.Close()
	large := filepath.Join(dir, "b", "1.png") // beyond the cap of an image's file, so that reading it is an error
	if err := os.WriteFile(large, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 64<<20+1); err != nil {
		t.Fatal(err)
	}
	src := &source{graph: &model.Graph{Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, 3, 2, 2)}}}}}
	bind := func(limit int, data string) (*bound, error) {
		r := &Recipe{Inputs: InputsSpec{Images: dir}, Task: &TaskSpec{Kind: "classification", Limit: limit, Data: data, Text: "file", Label: "label"}}
		r.Target.Batch, r.Measure.Inputs = 1, 1
		b := &bound{}
		return b, r.bindImages(b, src, nil)
	}
	b, err := bind(1, "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.labels, []string{"a", "b"}) || !slices.Equal(b.classes, []int{0}) || b.inputs.Len() != 1 || len(b.digest) != 64 {
		t.Errorf("labels %q, classes %v, %d images, digest %q", b.labels, b.classes, b.inputs.Len(), b.digest)
	}
	if _, err := bind(0, ""); err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("without a limit the second image is read: %v", err)
	}
	list := filepath.Join(t.TempDir(), "list.jsonl")
	if err := os.WriteFile(list, []byte(`{"file": "a/1.png", "label": "a"}`+"\n"+`{"file": "a/1.png", "label": ""}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := bind(0, list); err == nil || !strings.Contains(err.Error(), `image 2, "a/1.png", has no label`) {
		t.Errorf("an image without a label: %v", err)
	}
}
