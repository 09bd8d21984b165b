package kernel

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestParseISA(t *testing.T) {
	for i := range ISA(len(isaNames)) {
		if got, err := ParseISA(i.String()); err != nil || got != i {
			t.Errorf("ParseISA(%q) = %v, %v", i, got, err)
		}
	}
	if _, err := ParseISA("sse9"); err == nil {
		t.Error("ParseISA accepted sse9")
	}
}

func TestLimitNestsAndRestores(t *testing.T) {
	base := Active()
	t.Logf("the kernels run at %v", base)
	if base > Detect() {
		t.Fatalf("Active %v above Detect %v", base, Detect())
	}
	restore := Limit(AVX2)
	inner := Limit(Generic)
	if Active() != Generic {
		t.Errorf("Active = %v under Limit(Generic)", Active())
	}
	inner()
	if want := atMost(Levels(), min(base, AVX2)); Active() != want {
		t.Errorf("Active = %v, want %v", Active(), want)
	}
	restore()
	if Active() != base {
		t.Errorf("Active = %v after restore, want %v", Active(), base)
	}
}

// TestLastLevel compares with what Linux says of the third-level cache.
func TestLastLevel(t *testing.T) {
	said, err := os.ReadFile("/sys/devices/system/cpu/cpu0/cache/index3/size")
	size, cut := strings.CutSuffix(strings.TrimSpace(string(said)), "K")
	if err != nil || !cut || lastLevel() == 0 {
		t.Skipf("%d bytes, and Linux says %q: %v", lastLevel(), said, err)
	}
	if kib, err := strconv.Atoi(size); err != nil || kib<<10 != lastLevel() {
		t.Errorf("%d bytes, and Linux says %s", lastLevel(), said)
	}
}

// TestLowerISA: a level that the CPU lacks gives the next lower one that it has.
func TestLowerISA(t *testing.T) {
	server := []ISA{Generic, AVX2, AVX512, AVX512VNNI}
	bfloat := append(slices.Clone(server), AVX512BF16)
	client := []ISA{Generic, AVX2, AVXVNNI}
	arm := []ISA{Generic, NEON, NEONDot, NEONI8MM}
	for _, c := range []struct {
		have []ISA
		env  string
		want ISA
		ok   bool
	}{
		{server[:3], "", AVX512, true}, {server, "avx2", AVX2, true}, {server[:2], "avx512vnni", AVX2, true}, {server, "generic", Generic, true},
		{server[:2], "AVX2", AVX2, false}, {server, "avxvnni", AVX2, true}, {client, "avxvnni", AVXVNNI, true}, {client, "avx512", AVXVNNI, true},
		{client, "amx", AVXVNNI, true}, {client, "avx2", AVX2, true}, {server, "amx", AVX512VNNI, true}, {server[:1], "amx", Generic, true},
		{server, "neondot", AVX512VNNI, true}, {arm, "avx512", Generic, true}, {arm, "neondot", NEONDot, true},
		{bfloat, "avx512vnni", AVX512VNNI, true}, {bfloat, "amx", AVX512BF16, true}, {server, "avx512bf16", AVX512VNNI, true},
		{arm[:2], "neoni8mm", NEON, true},
	} {
		got, err := lowerISA(c.have, c.env)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("lowerISA(%v, %q) = %v, %v", c.have, c.env, got, err)
		}
	}
}

// TestLevels: levels are in order, Limit reaches every one, and none is below what its features are.
func TestLevels(t *testing.T) {
	levels := Levels()
	if levels[0] != Generic || !slices.IsSorted(levels) || levels[len(levels)-1] != Detect() {
		t.Fatalf("levels %v, detected %v", levels, Detect())
	}
	for i := range ISA(len(isaNames)) {
		restore := Limit(i)
		if env, _ := isaFromEnv(); slices.Contains(levels, i) && i <= env && Active() != i || Active() > i {
			t.Errorf("Limit(%v) gives %v of %v", i, Active(), levels)
		}
		restore()
	}
	for level, feature := range map[ISA]string{AVX2: "avx2", AVXVNNI: "avxvnni", AVX512: "avx512f", AVX512VNNI: "avx512vnni", AVX512BF16: "avx512bf16", AMX: "amxint8",
		NEON: "neon", NEONDot: "asimddp", NEONI8MM: "i8mm"} {
		if slices.Contains(levels, level) && !slices.Contains(Features(), feature) {
			t.Errorf("level %v without the feature %s", level, feature)
		}
	}
	t.Logf("levels %v, features %v", levels, Features())
}
