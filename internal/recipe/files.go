package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Folders inside the output folder.
const (
	checkpointsName = "checkpoints" // the state of interrupted stages, removed at the end
	replacedName    = ".replaced"   // what a finished run had left, removed at the end
	variantsName    = "variants"
)

// ErrInUse is wrapped when another process works in the output folder.
var ErrInUse = errors.New("is in use by another process")

// folder is an output folder that this process alone works in.
type folder struct {
	path    string
	lock    *measure.HostLock
	created bool // the folder of checkpoints was not there before
}

// openFolder makes the folder, takes it for this process, and removes half-written files that a killed one left.
func openFolder(path string) (*folder, error) {
	checkpoints := filepath.Join(path, checkpointsName)
	_, statErr := os.Stat(checkpoints)
	if err := os.MkdirAll(checkpoints, 0o755); err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	lock, err := measure.LockHost(checkpoints)
	if errors.Is(err, measure.ErrHostBusy) {
		return nil, fmt.Errorf("recipe: folder %q %w", path, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	f := &folder{path, lock, errors.Is(statErr, os.ErrNotExist)}
	for _, pattern := range []string{".wattshed-*", "plots/.wattshed-*", variantsName + "/.wattshed-*", variantsName + "/*.partial"} {
		stale, err := filepath.Glob(filepath.Join(globEscape(path), filepath.FromSlash(pattern)))
		for _, name := range stale {
			err = errors.Join(err, os.Remove(name))
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("recipe: %w", err), f.close())
		}
	}
	return f, nil
}

// Replaced is the folder in the output folder out in which the report and the variants of a finished run are, until the run that is to
// replace it is finished itself; "" where there is none.
func Replaced(out string) string {
	dir := filepath.Join(out, replacedName)
	if info, err := os.Stat(dir); out == "" || err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// fresh removes the state of stages that an earlier run left.
func (f *folder) fresh() error {
	dir := filepath.Join(f.path, checkpointsName)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	return nil
}

// abort gives the folder back as it was found.
func (f *folder) abort() error {
	if f.created {
		return f.finish()
	}
	return f.close()
}

// finish gives the folder back and removes the state of interrupted stages, and what a run before had left.
func (f *folder) finish() error {
	if err := errors.Join(f.close(), os.RemoveAll(filepath.Join(f.path, checkpointsName)), os.RemoveAll(filepath.Join(f.path, replacedName))); err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	return nil
}

func (f *folder) close() error {
	if f == nil || f.lock == nil {
		return nil
	}
	lock := f.lock
	f.lock = nil
	return lock.Release()
}

// writeFile puts b in the place of the file at path, all or nothing.
func writeFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".wattshed-*")
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("recipe: %w", err)
		}
	}()
	if _, err = f.Write(b); err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// fileDigest returns the size and the sha256 of files, one behind the other.
func fileDigest(paths ...string) (int64, string, error) {
	h, size := sha256.New(), int64(0)
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return 0, "", err
		}
		n, err := io.Copy(h, f)
		f.Close()
		if err != nil {
			return 0, "", fmt.Errorf("%s: %w", path, err)
		}
		size += n
	}
	return size, hex.EncodeToString(h.Sum(nil)), nil
}

// modelDigest is fileDigest of the model at path and its external data.
func modelDigest(path string) (int64, string, error) {
	f, err := onnx.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	return fileDigest(modelFiles(path, f.Graph())...)
}

// modelFiles lists the files of a model: its own, and then those that other tensors of its graph lie in, by name.
func modelFiles(path string, g *model.Graph) []string {
	var data []string
	for _, m := range g.Mappings() {
		if m.Path() != path {
			data = append(data, m.Path())
		}
	}
	slices.Sort(data)
	return append([]string{path}, data...)
}

// modelBytes returns the size of a model's files.
func modelBytes(path string, g *model.Graph) int64 {
	total := int64(0)
	for _, name := range modelFiles(path, g) {
		if info, err := os.Stat(name); err == nil {
			total += info.Size()
		}
	}
	return total
}
