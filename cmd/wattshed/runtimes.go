package main

import (
	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
)

// runtimes are the runtimes of this build by their recipe word.
func runtimes() map[string]engine.Runtime {
	return map[string]engine.Runtime{"native": engine.Native{}, "ort": &ort.Runtime{}}
}
