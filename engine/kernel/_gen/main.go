// Command _gen writes the assembly of package kernel: go run . -out .. (see the go:generate line in doc.go).
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// outputs lists every generated file; a generator returns the bytes of its files.
var outputs = []func() []file{
	gemmFiles,
	halfFiles,
	bf16DotFiles,
	amxBF16Files,
	epilogueFiles,
	packFiles,
	int8Files,
	amxFiles,
	int8ConvFiles,
	int8ElemFiles,
	peakFiles,
	nbitsFiles,
	nbitsWidenFiles,
	digitsFiles,
	lstmFiles,
	weightsFiles,
	vecFiles,
	moveFiles,
	convFiles,
	blockFiles,
	winoFiles,
	neonGemmFiles,
	neonEpilogueFiles,
	neonSmullFiles,
	neonVecFiles,
	neonElemFiles,
	neonBitsFiles,
}

// file is one generated file, relative to the package folder.
type file struct {
	name string
	data []byte
}

func main() {
	out := flag.String("out", "..", "folder of package kernel")
	words := flag.String("neon-words", "", "write the instructions that the disassembler is to read to this file, and nothing else")
	diff := flag.Bool("diff", false, "write nothing; fail if a committed file differs")
	flag.Parse()
	if *words != "" {
		if err := os.WriteFile(*words, neonWords(), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	stale := 0
	for _, gen := range outputs {
		for _, f := range gen() {
			path := filepath.Join(*out, f.name)
			if *diff {
				if old, err := os.ReadFile(path); err != nil || string(old) != string(f.data) {
					fmt.Fprintf(os.Stderr, "%s is not what its generator writes: run go generate\n", path)
					stale++
				}
				continue
			}
			if err := os.WriteFile(path, f.data, 0o644); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	if stale > 0 {
		os.Exit(1)
	}
}
