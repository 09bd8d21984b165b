// Package ort runs models on ONNX Runtime, the deployment runtime, behind engine.Runtime. The shared
// library is loaded at run time (no cgo, no build dependency); with the build tag static the package
// holds only the answer that it was left out.
package ort

import "errors"

// ErrNotFound is wrapped when no ONNX Runtime library is on this system.
var ErrNotFound = errors.New("ONNX Runtime library not found")

// EnvLibrary is the environment variable that names the library file or the folder that holds it.
const EnvLibrary = "WATTSHED_ORT"
