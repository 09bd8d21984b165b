package task

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"

	"github.com/wattshed/wattshed/testdata"

	"github.com/klauspost/compress/zstd"
)

// TestUnpackBuiltinModel: the model in the binary is, byte for byte, the file that people load by its path.
func TestUnpackBuiltinModel(t *testing.T) {
	want, err := os.ReadFile("../../testdata/spam/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unpack(testdata.FS, "spam/model.onnx.zst")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("spam/model.onnx.zst does not unpack to spam/model.onnx: zstd --ultra -22 makes it")
	}
}

// TestUnpackFaults: a missing file, one that is no zstd, one cut off and one that claims to be larger than the bound.
func TestUnpackFaults(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	small := z.EncodeAll([]byte("some bytes that are long enough to be cut"), nil)
	files := fstest.MapFS{
		"text":  {Data: []byte("not compressed")},
		"cut":   {Data: small[:len(small)-5]},
		"large": {Data: z.EncodeAll(make([]byte, maxUnpacked+1), nil)},
	}
	for name := range files {
		if b, err := Unpack(files, name); err == nil {
			t.Errorf("%s: %d bytes and no error", name, len(b))
		}
	}
	if _, err := Unpack(files, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}
