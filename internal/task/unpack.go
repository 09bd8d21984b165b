package task

import (
	"fmt"
	"io/fs"

	"github.com/klauspost/compress/zstd"
)

// maxUnpacked bounds what a compressed file may grow to, in bytes: some ten times the largest that is embedded.
const maxUnpacked = 64 << 20

// Unpack returns the whole content of a zstd-compressed file (RFC 8878) of fsys, 64 MiB at most.
func Unpack(fsys fs.FS, name string) ([]byte, error) {
	packed, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxUnpacked), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	b, err := z.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("task: %s: %w", name, err)
	}
	return b, nil
}
