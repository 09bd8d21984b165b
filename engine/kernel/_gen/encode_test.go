package main

import (
	"encoding/hex"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var writeEncodings = flag.String("encodings", "", "write every encoded instruction as source for an assembler to this file, and stop")

// emitted matches an instruction in a generated file that is encoded by hand.
var emitted = regexp.MustCompile(`(?m)^\t(BYTE \$0x[0-9a-f]{2}(?:; BYTE \$0x[0-9a-f]{2})*)(?: // (.*))?$`)

// samples are instructions whose registers and addresses try every field of the encodings.
func samples() []inst {
	var out []inst
	addresses := []mem{
		{base: "AX"}, {base: "SI", disp: 64}, {base: "DI", disp: -65}, {base: "R8", disp: 4096}, {base: "R12"}, {base: "R13"}, {base: "BP", disp: 127},
		{base: "SP", disp: 128}, {base: "SI", index: "R8", scale: 1}, {base: "R13", index: "R9", scale: 4}, {base: "R15", index: "BX", scale: 8, disp: 8192},
		{base: "R12", index: "R12", scale: 2, disp: -128},
	}
	for i, m := range addresses {
		r := (5*i + 3) % 16
		out = append(out, tileConfig(m), prefetchW(m), dotU8S8VEX("Y", r, 15-r, m), dotU8S8VEX("X", 15-r, r, m),
			dotBF16("Z", 2*r, 31-r, m, false), dotBF16("Z", r, 31-2*r, m, true), dotBF16("Y", r, r, m, false),
			cvtTwoBF16("Z", 31-r, 2*r, m), cvtTwoBF16("Y", r, r, m), cvtBF16("Z", r, m), cvtBF16("Y", 31-r, m))
		if m.index != "" {
			out = append(out, tileLoad(i%8, m), tileStore(m, 7-i%8))
		}
	}
	out = append(out, tileRelease())
	for i := range 8 {
		out = append(out, tileZero(i), tileDotU8S8(i, (i+3)%8, (5*i+1)%8), tileDotBF16((i+1)%8, (i+3)%8, (i+6)%8))
	}
	for i := range 32 {
		a, b := (7*i+2)%32, regNum((11*i+5)%32)
		out = append(out, dotBF16("Z", i, a, b, false), dotBF16("X", a, i, b, false), cvtTwoBF16("Z", i, a, b), cvtBF16("Z", i, b), cvtBF16("Y", a, regNum(i)),
			dotU8S8VEX("Y", i%16, a%16, b%16))
	}
	return out
}

// TestEncodings compares every instruction that is encoded by hand, in the samples and in the generated files, with what an assembler
// made of its text and a disassembler read back. To write testdata/encodings.txt again (binutils 2.40 or later):
//
//	go test -run TestEncodings . -encodings e.s
//	as -msyntax=intel -mnaked-reg e.s -o e.o
//	objdump -d -w -M intel e.o | grep -P '^ *[0-9a-f]+:\t' | cut -f 2- >testdata/encodings.txt
func TestEncodings(t *testing.T) {
	want := samples()
	inFiles := 0
	for _, gen := range outputs {
		for _, f := range gen() {
			for _, m := range emitted.FindAllStringSubmatch(string(f.data), -1) {
				code, err := hex.DecodeString(strings.NewReplacer("BYTE $0x", "", "; ", "").Replace(m[1]))
				if err != nil || m[2] == "" {
					t.Fatalf("%s: %q is not encoded by inst", f.name, m[0])
				}
				want = append(want, inst{m[2], code})
				inFiles++
			}
			if n, m := strings.Count(string(f.data), "\tBYTE "), len(emitted.FindAllString(string(f.data), -1)); n != m {
				t.Errorf("%s: %d lines start with BYTE, %d are understood", f.name, n, m)
			}
		}
	}
	slices.SortFunc(want, func(a, b inst) int { return strings.Compare(a.text, b.text) })
	if *writeEncodings != "" {
		var s strings.Builder
		for i, in := range want {
			if i == 0 || in.text != want[i-1].text {
				s.WriteString(in.text + "\n")
			}
		}
		if err := os.WriteFile(*writeEncodings, []byte(s.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile("testdata/encodings.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, l := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		code, text, ok := strings.Cut(l, "\t")
		if !ok {
			t.Fatalf("testdata/encodings.txt: %q has no tab", l)
		}
		known[strings.TrimSpace(text)] = strings.ReplaceAll(code, " ", "")
	}
	for _, in := range want {
		if got := hex.EncodeToString(in.code); known[in.text] != got {
			t.Errorf("%s is encoded as %s, objdump reads it in %q", in.text, got, known[in.text])
		}
	}
	t.Logf("%d instructions in generated files, %d samples, %d in the disassembler's list", inFiles, len(want)-inFiles, len(known))
}
