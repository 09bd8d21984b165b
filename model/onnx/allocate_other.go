//go:build !linux

package onnx

import (
	"errors"
	"os"
)

func flush(*os.File) {}

func allocate(*os.File, int64) error { return errors.ErrUnsupported }
