package engine

import (
	"errors"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestPackFails: whoever asks for a packed form that cannot be made gets an error, also those of its session that wait while its maker
// panics; nothing of it stays in the Packs, so that other sessions, those that waited too, make it anew.
func TestPackFails(t *testing.T) {
	packs := new(Packs)
	w := model.FromSlice([]int{2}, []float32{1, 2})
	session := func() *prep { return &prep{c: &compiler{opts: Options{Packs: packs}}} }
	fail := errors.New("no memory")
	if _, err := pack(session(), w, "t", func() (int, int64, error) { return 1, 8, fail }); !errors.Is(err, fail) {
		t.Errorf("a maker that fails: %v", err)
	}
	p := session()
	started, asked := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic of a maker is lost")
			}
		}()
		_, _ = pack(p, w, "t", func() (int, int64, error) { close(started); <-asked; <-asked; panic("maker") })
	})
	<-started
	for _, q := range []*prep{p, session()} { // of the same session, and of another
		wg.Go(func() {
			asked <- true
			v, err := pack(q, w, "t", func() (int, int64, error) { return 7, 8, nil })
			if q == p && err == nil || q != p && (err != nil || v != 7) {
				t.Errorf("beside a maker that panics, of the same session %t: %d, %v", q == p, v, err)
			}
		})
	}
	wg.Wait()
	if _, err := pack(p, w, "t", func() (int, int64, error) { return 7, 8, nil }); err == nil {
		t.Error("a session whose maker panicked has no error")
	}
	if n := len(packs.packed); n > 1 {
		t.Errorf("%d entries are held", n)
	}
	if v, err := pack(session(), w, "t", func() (int, int64, error) { return 7, 8, nil }); err != nil || v != 7 {
		t.Errorf("a session after the failures: %d, %v", v, err)
	}
	if _, err := pack(session(), w, "t", func() (string, int64, error) { return "", 0, nil }); err == nil {
		t.Error("a packed form of another type is taken")
	}
	if n := packs.Bytes(); n != 8 {
		t.Errorf("%d bytes are held, want 8", n)
	}
}
