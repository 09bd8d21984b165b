package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// disassembly is what GNU objdump makes of the samples; its first line is the command.
const disassembly = "testdata/neon.objdump"

var (
	listed  = regexp.MustCompile(`(?m)^ *[0-9a-f]+:\t([0-9a-f]{8}) \t(.*)$`)
	written = regexp.MustCompile(`(?m)^\tWORD \$0x([0-9a-f]{8}) // (.*)$`)
)

// TestNeonEncodings compares each form, with operands that set and clear every bit of its fields, with the disassembler's text.
func TestNeonEncodings(t *testing.T) {
	text, err := os.ReadFile(disassembly)
	if err != nil {
		t.Fatal(err)
	}
	lines := listed.FindAllStringSubmatch(string(text), -1)
	for _, name := range sortedKeys(neonForms) {
		for _, s := range neonSamples(neonForms[name]) {
			if len(lines) == 0 {
				t.Fatalf("%s is not in %s", name, disassembly)
			}
			w, want := neonForms[name].encode(s[0], s[1], s[2], s[3])
			if got := lines[0]; got[1] != fmt.Sprintf("%08x", w) || strings.TrimSpace(got[2]) != want {
				t.Fatalf("%s: %08x %q, the disassembler has %s %q", name, w, want, got[1], got[2])
			}
			lines = lines[1:]
		}
	}
	if len(lines) > 0 {
		t.Errorf("%d lines of %s belong to no form", len(lines), disassembly)
	}
}

// TestNeonWords wants every WORD of the generated files to be one of the forms, as its comment says, and every form to be used.
func TestNeonWords(t *testing.T) {
	used := map[string]bool{}
	for _, gen := range outputs {
		for _, f := range gen() {
			if !strings.HasSuffix(f.name, "_arm64.s") {
				continue
			}
			if n := strings.Count(string(f.data), "WORD"); n != len(written.FindAllString(string(f.data), -1)) {
				t.Errorf("%s: not every WORD has its text", f.name)
			}
			for _, w := range written.FindAllStringSubmatch(string(f.data), -1) {
				used[w[2][:strings.Index(w[2], " ")]] = true
			}
		}
	}
	for name, f := range neonForms {
		if op := f.text[:strings.Index(f.text, "\t")]; !used[op] {
			t.Errorf("no kernel uses the form %s (%s)", name, op)
		}
	}
}
