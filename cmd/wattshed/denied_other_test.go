//go:build !unix

package main

import "github.com/rogpeppe/go-internal/testscript"

// cmdDenied is for systems whose folders have an owner and a mode.
func cmdDenied(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("denied: not on this system: guard it by [unix]")
}
