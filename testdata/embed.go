// Package testdata holds the files that are compiled into the binary: the spam corpus. See PROVENANCE.md for where each
// file comes from.
package testdata

import "embed"

// FS holds the folder spam.
//
//go:embed spam
var FS embed.FS
