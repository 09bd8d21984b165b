package distill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// memory is a Checkpoint in memory that fails, or stops the run, after some saves.
type memory struct {
	data  map[string][]byte
	saves int
	after func(saves int) error
}

func (m *memory) Save(name string, b []byte) error {
	if m.data == nil {
		m.data = map[string][]byte{}
	}
	m.data[name] = bytes.Clone(b)
	m.saves++
	if m.after != nil {
		return m.after(m.saves)
	}
	return nil
}

func (m *memory) Load(name string) ([]byte, error) {
	if b, ok := m.data[name]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("memory: %q: %w", name, os.ErrNotExist)
}

// A run that was cut off at the end of an epoch, or in the middle of one, ends with the bytes of a run that was not.
func TestResume(t *testing.T) {
	score := func(_ context.Context, g *model.Graph) (float64, error) { // falls after some epochs: the best is not the last
		w, err := model.Data[float32](g.Initializer("linear.bias"))
		return -math.Abs(float64(w[0]) - 0.01), err
	}
	base := smallTrainer(t)
	base.Epochs, base.Validate = 6, score
	want, full := mustTrain(t, base, mustGraph(t, smallArch(), 1))
	for _, stopAt := range []int{7, 20, 31, 59} { // steps; 10 per epoch
		tr := base
		store := &memory{}
		tr.Checkpoint = store
		ctx, cancel := context.WithCancel(context.Background())
		tr.Progress = func(p Progress) {
			if p.Step == stopAt {
				cancel()
			}
		}
		if _, _, err := tr.Train(ctx, mustGraph(t, smallArch(), 1)); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped at step %d: error %v", stopAt, err)
		}
		steps := 0
		tr.Progress = func(p Progress) {
			if p.EpochDone == nil {
				steps++
			}
		}
		got, rep := mustTrain(t, tr, mustGraph(t, smallArch(), 1))
		if rep.Resumed != stopAt/10 && rep.Resumed != stopAt/10-1 || steps != 60-10*rep.Resumed {
			t.Errorf("stopped at step %d: %d epochs resumed, %d steps done again", stopAt, rep.Resumed, steps)
		}
		if digest(t, got) != digest(t, want) || rep.Best != full.Best {
			t.Errorf("stopped at step %d: other weights than in one go", stopAt)
		}
		for i := range full.Epochs {
			if rep.Epochs[i].Loss != full.Epochs[i].Loss || *rep.Epochs[i].Validation != *full.Epochs[i].Validation {
				t.Errorf("epoch %d: loss %g, in one go %g", i+1, rep.Epochs[i].Loss, full.Epochs[i].Loss)
			}
		}
	}
}

// A checkpoint of other settings, other data or with a broken byte is not used.
func TestForeignCheckpoint(t *testing.T) {
	tr := smallTrainer(t)
	tr.Epochs = 2
	store := &memory{}
	tr.Checkpoint = store
	want, _ := mustTrain(t, tr, mustGraph(t, smallArch(), 1))
	for name, change := range map[string]func(*Trainer){
		"seed":     func(tr *Trainer) { tr.Seed++ },
		"rate":     func(tr *Trainer) { tr.LearningRate *= 2 },
		"examples": func(tr *Trainer) { tr.Examples = bracketTask(t, 160, 2) },
		"byte": func(tr *Trainer) {
			b := bytes.Clone(store.data[stateName])
			b[len(b)/2] ^= 1
			tr.Checkpoint = &memory{data: map[string][]byte{stateName: b}}
		},
	} {
		other := tr
		other.Checkpoint = &memory{data: map[string][]byte{stateName: store.data[stateName]}}
		change(&other)
		if _, rep := mustTrain(t, other, mustGraph(t, smallArch(), 1)); rep.Resumed != 0 || rep.Unused == "" {
			t.Errorf("%s: resumed %d epochs, unused %q", name, rep.Resumed, rep.Unused)
		}
	}
	got, rep := mustTrain(t, tr, mustGraph(t, smallArch(), 1))
	if rep.Resumed != 2 || rep.Unused != "" || digest(t, got) != digest(t, want) {
		t.Errorf("finished run: %d epochs resumed", rep.Resumed)
	}
}

func TestFolder(t *testing.T) {
	d := Folder(filepath.Join(t.TempDir(), "sub"))
	if _, err := d.Load("x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("load of nothing: %v", err)
	}
	for _, s := range []string{"one", "two"} {
		if err := d.Save("x", []byte(s)); err != nil {
			t.Fatal(err)
		}
		if b, err := d.Load("x"); err != nil || string(b) != s {
			t.Errorf("got %q, %v; want %q", b, err, s)
		}
	}
	if files, _ := os.ReadDir(string(d)); len(files) != 1 {
		t.Errorf("%d files, want 1", len(files))
	}
}

func FuzzState(f *testing.F) {
	b, err := stateHeader{Step: 3, History: []EpochReport{{Epoch: 1}}}.encode([][]float32{{1, 2}, {}, {3}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(stateMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		if len(b) > 32 { // give the parser behind the checksum something to do
			sum := sha256.Sum256(b[:len(b)-32])
			b = append(b[:len(b)-32:len(b)-32], sum[:]...)
		}
		h, tensors, err := decodeState(b)
		if err != nil {
			return
		}
		h.Sizes = nil
		again, err := h.encode(tensors)
		if err != nil {
			t.Fatal(err)
		}
		if _, other, err := decodeState(again); err != nil || len(other) != len(tensors) {
			t.Fatalf("encode and decode: %v", err)
		}
	})
}
