package recipe

import "testing"

// TestSessionsSharePacks: the teacher is the baseline's model and holds no packed weights of its own, and neither does a second
// load of all variants.
func TestSessionsSharePacks(t *testing.T) {
	r := newRun(tiny(t), options(t.TempDir()))
	defer r.close()
	if err := r.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	base := r.packs.Bytes()
	if base == 0 {
		t.Fatal("the baseline packed nothing")
	}
	if _, err := r.loadTeacher(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.packs.Bytes(); got != base {
		t.Errorf("%d bytes are held with the teacher, %d for the baseline", got, base)
	}
	if err := r.makeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.loadAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := r.packs.Bytes()
	first := r.sessions[1:]
	if err := r.loadAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range first {
		s.Close()
	}
	if got := r.packs.Bytes(); got != all {
		t.Errorf("%d bytes are held for variants that are loaded twice, %d for once", got, all)
	}
}
