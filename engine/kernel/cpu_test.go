package kernel

import "testing"

func TestParseISA(t *testing.T) {
	for i := Generic; i <= AVX512VNNI; i++ {
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
	if base > Detect() {
		t.Fatalf("Active %v above Detect %v", base, Detect())
	}
	restore := Limit(AVX2)
	inner := Limit(Generic)
	if Active() != Generic {
		t.Errorf("Active = %v under Limit(Generic)", Active())
	}
	inner()
	if want := min(base, AVX2); Active() != want {
		t.Errorf("Active = %v, want %v", Active(), want)
	}
	restore()
	if Active() != base {
		t.Errorf("Active = %v after restore, want %v", Active(), base)
	}
}

func TestLowerISA(t *testing.T) {
	for _, c := range []struct {
		have ISA
		env  string
		want ISA
		ok   bool
	}{{AVX512, "", AVX512, true}, {AVX512, "avx2", AVX2, true}, {AVX2, "avx512vnni", AVX2, true}, {AVX2, "generic", Generic, true}, {AVX2, "AVX2", AVX2, false}} {
		got, err := lowerISA(c.have, c.env)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("lowerISA(%v, %q) = %v, %v", c.have, c.env, got, err)
		}
	}
}
