// Package testdata holds the files that are compiled into the binary: the spam corpus. See PROVENANCE.md for where each
// file comes from.
package testdata

import "embed"

// FS holds the corpus, the recipe and the model of the folder spam, the model as model.onnx.zst alone: the binary is smaller
// for it.
//
//go:embed spam/*.zst spam/demo.yaml
var FS embed.FS
