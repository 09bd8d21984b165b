package recipe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// TestExternalData: external data count among the bytes of a model and in its digest, for which the model's file comes first.
func TestExternalData(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	in, whole := filepath.Join(dir, "in.onnx"), filepath.Join(dir, "whole.onnx")
	data := chainFile(t, in, true)
	chainFile(t, whole, false)
	head, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append(head, data...))
	size, digest := int64(len(head)+len(data)), hex.EncodeToString(sum[:])
	src, err := openModel("in.onnx", dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if src.bytes != size || src.sha256 != digest {
		t.Errorf("a source of %d bytes, %s; want %d, %s", src.bytes, src.sha256, size, digest)
	}
	r := newRun(&Recipe{}, Options{})
	r.src = src
	if err := r.files([]string{in, whole}); err != nil {
		t.Fatal(err)
	}
	if m := r.made[1]; m.Bytes != size || m.SHA256 != digest {
		t.Errorf("a model beside others: %+v", m)
	}
	if a, b := r.made[1].Bytes, r.made[2].Bytes; a < b*99/100 || a > b*101/100 { // the same weights
		t.Errorf("%d bytes in two files, %d in one", a, b)
	}
	if err := src.close(); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out.onnx")
	done, err := ApplyStage(ctx, Single{In: in, Out: out, Stage: &Prune{Sparsity: 0.5}, Runtimes: natives, Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	n, pruned, err := fileDigest(out)
	if err != nil {
		t.Fatal(err)
	}
	if done.BytesBefore != size || done.BytesAfter != n || done.SHA256 != pruned {
		t.Errorf("%+v, want %d and %d bytes, %s", done, size, n, pruned)
	}
	r.out = dir
	m := &made{Path: in, Bytes: size, SHA256: digest}
	if !r.intact(m) {
		t.Error("a model that nobody touched is not intact")
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(in+".data", data, 0o666); err != nil {
		t.Fatal(err)
	}
	if r.intact(m) {
		t.Error("another weight is taken for the model")
	}
}
