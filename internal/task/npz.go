package task

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// maxArrays is the most arrays of a file.
const maxArrays = 256

// NPZ are the arrays of a NumPy .npz file by name, with the digest of the file.
type NPZ struct {
	Name   string
	SHA256 string
	Arrays map[string]*model.Tensor
}

// ReadNPZ reads a .npz file of size bytes: a zip archive, stored or deflated, with a NAME.npy (see ReadNPY) per array. All
// arrays together have at most 1 GiB of elements; as many bytes as that are read at most, whatever the archive claims or
// inflates to. Errors name the file and the array.
func ReadNPZ(r io.ReaderAt, size int64, name string) (*NPZ, error) {
	return readNPZ(r, size, name, maxArrayBytes)
}

func readNPZ(r io.ReaderAt, size int64, name string, left int64) (*NPZ, error) {
	out := &NPZ{Name: filepath.Base(name), Arrays: map[string]*model.Tensor{}}
	if size > maxArchiveSize {
		return nil, fmt.Errorf("task: %s: %d bytes: at most %d are read", out.Name, size, int64(maxArchiveSize))
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("task: %s: no .npz file: %w", out.Name, err)
	}
	if len(z.File) > maxArrays {
		return nil, fmt.Errorf("task: %s: %d arrays: at most %d are read", out.Name, len(z.File), maxArrays)
	}
	for _, f := range z.File {
		key, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			return nil, fmt.Errorf("task: %s: entry %.80q is no .npy", out.Name, f.Name)
		}
		if out.Arrays[key] != nil {
			return nil, fmt.Errorf("task: %s: array %.80q is there twice", out.Name, key)
		}
		t, err := readEntry(f, left)
		if err != nil {
			return nil, fmt.Errorf("task: %s: array %.80q: %w", out.Name, key, err)
		}
		left -= int64(t.ByteSize())
		out.Arrays[key] = t
	}
	if len(out.Arrays) == 0 {
		return nil, fmt.Errorf("task: %s: no arrays", out.Name)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, size)); err != nil {
		return nil, fmt.Errorf("task: %s: %w", out.Name, err)
	}
	out.SHA256 = hex.EncodeToString(h.Sum(nil))
	return out, nil
}

func readEntry(f *zip.File, limit int64) (*model.Tensor, error) {
	rc, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return ReadNPY(rc, limit)
}
