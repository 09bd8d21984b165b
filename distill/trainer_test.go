package distill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/grad"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// bracketTask returns n sequences of ids in [1, 20) of which the label says whether a 3 is followed, anywhere later, by a 5: a linear
// function of the words present cannot tell.
func bracketTask(t *testing.T, n int, seed uint64) engine.Feeds {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	texts, labels, ids := make([]string, n), make([]int64, n), map[string][]int64{}
	for i := range texts {
		x := make([]int64, 4+r.IntN(12))
		for k := range x {
			x[k] = 1 + r.Int64N(19)
			if x[k] == 3 || x[k] == 5 {
				x[k] = 1
			}
		}
		a, b := r.IntN(len(x)-1), 0
		b = a + 1 + r.IntN(len(x)-a-1)
		x[a], x[b] = 5, 3
		if labels[i] = int64(i % 2); labels[i] == 1 {
			x[a], x[b] = 3, 5
		}
		texts[i] = fmt.Sprint(i)
		ids[texts[i]] = x
	}
	feeds, err := Examples(texts, labels, func(s string) ([]int64, error) { return ids[s], nil }, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return feeds
}

func smallArch() Arch {
	return Arch{Kind: "lstm", Vocabulary: 20, Embedding: 12, Hidden: 20, Classes: 2, Bidirectional: true, Pooling: "max"}
}

// smallTrainer takes 200 steps.
func smallTrainer(t *testing.T) Trainer {
	return Trainer{Runtime: engine.Native{}, Threads: 2, Examples: bracketTask(t, 160, 1), Epochs: 20, Batch: 16, Seed: 3, LearningRate: 0.01,
		Optimizer: grad.AdamW{WeightDecay: 0.01}, Schedule: grad.Cosine{Warmup: 0.1}, Clip: 1}
}

func mustGraph(t *testing.T, a Arch, seed uint64) *model.Graph {
	t.Helper()
	g, err := a.Graph(seed)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func mustTrain(t *testing.T, tr Trainer, g *model.Graph) (*model.Graph, Report) {
	t.Helper()
	m, rep, err := tr.Train(context.Background(), g)
	if err != nil {
		t.Fatal(err)
	}
	return m, rep
}

// digest is the sha256 of all float32 initializers in order.
func digest(t *testing.T, g *model.Graph) string {
	t.Helper()
	h := sha256.New()
	for _, name := range g.Initializers() {
		if w := g.Initializer(name); w.DType() == model.Float32 {
			b, err := w.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			h.Write(b)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// logitsOf runs the model on the examples one by one.
func logitsOf(t *testing.T, g *model.Graph, feeds engine.Feeds) (logits [][]float32, labels []int64) {
	t.Helper()
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for f, err := range feeds.All() {
		if err != nil {
			t.Fatal(err)
		}
		l, _ := model.Data[int64](f["labels"])
		out, err := s.Run(context.Background(), engine.Feed{InputIDs: f[InputIDs]})
		if err != nil {
			t.Fatal(err)
		}
		x, err := model.Data[float32](out[Logits])
		if err != nil {
			t.Fatal(err)
		}
		logits, labels = append(logits, x), append(labels, l[0])
	}
	return logits, labels
}

func accuracyOf(t *testing.T, g *model.Graph, feeds engine.Feeds) float64 {
	logits, labels := logitsOf(t, g, feeds)
	ok := 0
	for i, x := range logits {
		if (x[1] > x[0]) == (labels[i] == 1) {
			ok++
		}
	}
	return float64(ok) / float64(len(logits))
}

// trainedDigest is the sha256 of the weights after the 200 steps of TestSameBits, the same on every CPU: computed with AVX2 and with
// the pure Go kernels. It changes only with the arithmetic of a kernel or of the trainer.
const trainedDigest = "f3bb5eb1ffa3f2d020fe0c638f4a766676d8cdd1154d59c2f5541046b538837e"

func TestSameBits(t *testing.T) {
	run := func(threads int) string {
		tr := smallTrainer(t)
		tr.Threads = threads
		m, rep := mustTrain(t, tr, mustGraph(t, smallArch(), 1))
		if rep.Steps != 200 {
			t.Fatalf("%d steps, want 200", rep.Steps)
		}
		return digest(t, m)
	}
	for _, threads := range []int{1, 2, 3} {
		if got := run(threads); got != trainedDigest {
			t.Errorf("%d threads, %s: sha256 %s, want %s", threads, kernel.Active(), got, trainedDigest)
		}
	}
	for _, isa := range kernel.Levels() {
		restore := kernel.Limit(isa)
		if got := run(2); got != trainedDigest {
			t.Errorf("%s: sha256 %s, want %s", kernel.Active(), got, trainedDigest)
		}
		restore()
	}
}

// The trained model does the task on sequences that it has not seen; an untrained one is at chance.
func TestLearns(t *testing.T) {
	tr := smallTrainer(t)
	tr.Examples = bracketTask(t, 320, 1)
	unseen := bracketTask(t, 200, 99)
	g := mustGraph(t, smallArch(), 1)
	if a := accuracyOf(t, g, unseen); a > 0.65 {
		t.Errorf("untrained accuracy %g", a)
	}
	m, rep := mustTrain(t, tr, g)
	if a := accuracyOf(t, m, unseen); a < 0.95 {
		t.Errorf("accuracy %g, want at least 0.95", a)
	}
	if first, last := rep.Epochs[0].Loss, rep.Epochs[len(rep.Epochs)-1].Loss; last > first/4 {
		t.Errorf("loss went from %g to %g", first, last)
	}
	if rep.Parameters != smallArch().Parameters() {
		t.Errorf("%d parameters trained, the architecture has %d", rep.Parameters, smallArch().Parameters())
	}
}

// Masked elements are exactly zero in the trained weights and in the saved moments.
func TestMask(t *testing.T) {
	g := mustGraph(t, smallArch(), 1)
	mask := model.Mask{}
	r := rand.New(rand.NewPCG(5, 5))
	for _, name := range []string{"embedding.weight", "lstm.R", "linear.weight"} {
		b := model.NewBits(g.Initializer(name).Len())
		for i := range b.N {
			if r.IntN(2) == 0 {
				b.Set(i)
			}
		}
		mask[name] = b
	}
	store := &memory{}
	tr := smallTrainer(t)
	tr.Epochs, tr.Checkpoint = 5, store
	m, _, err := Recover(context.Background(), tr, g, mask)
	if err != nil {
		t.Fatal(err)
	}
	zeros := 0
	for name, bits := range mask {
		w, _ := model.Data[float32](m.Initializer(name))
		for i := range w {
			if !bits.Get(i) {
				zeros++
				if math.Float32bits(w[i]) != 0 {
					t.Fatalf("%s[%d] = %g, want 0", name, i, w[i])
				}
			}
		}
	}
	_, tensors, err := decodeState(store.data[stateName])
	if err != nil {
		t.Fatal(err)
	}
	params := grad.Params(withLoss(g))
	for i, name := range params {
		bits, ok := mask[name]
		if !ok {
			continue
		}
		for k := range 2 {
			for e, v := range tensors[len(params)+2*i+k] {
				if !bits.Get(e) && v != 0 {
					t.Fatalf("moment %d of %s[%d] = %g, want 0", k, name, e, v)
				}
			}
		}
	}
	if zeros < 100 {
		t.Fatalf("only %d elements masked", zeros)
	}
	mask["linear.bias"] = model.NewBits(7)
	if _, _, err := Recover(context.Background(), tr, g, mask); err == nil || !strings.Contains(err.Error(), "linear.bias") {
		t.Errorf("mask of the wrong size: %v", err)
	}
}

func withLoss(g *model.Graph) (*model.Graph, string) {
	c := g.Clone()
	c.Inputs = append(c.Inputs, &model.Value{Name: "labels"})
	return c, grad.CrossEntropy(c, Logits, "labels")
}

// A student that sees only the teacher's answers takes on the teacher's opinion, the labels being noise.
func TestTeacher(t *testing.T) {
	tr := smallTrainer(t)
	tr.Examples = bracketTask(t, 320, 1)
	teacher, _ := mustTrain(t, tr, mustGraph(t, smallArch(), 1))
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: teacher}, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	noisy := tr.Examples.All
	tr.Examples.All = func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for f, err := range noisy() {
				if !yield(engine.Feed{InputIDs: f[InputIDs], "labels": model.FromSlice([]int{1}, []int64{1})}, err) {
					return
				}
			}
		}
	}
	tr.Teacher, tr.Alpha, tr.Temperature = s, 1, 2
	arch := smallArch()
	arch.Hidden = 12
	student, _ := mustTrain(t, tr, mustGraph(t, arch, 2))
	if a := accuracyOf(t, student, bracketTask(t, 200, 99)); a < 0.95 {
		t.Errorf("student's accuracy %g, want at least 0.95", a)
	}
}

// Forward copies feed the pass, masters take the update; changes of masters last.
func TestConstraint(t *testing.T) {
	tr := smallTrainer(t)
	tr.Epochs = 1
	tr.Constraint = func(step int, w Weights) error {
		for _, name := range w.Names() {
			if name == "linear.weight" {
				clear(w.Forward(name)) // logits are the bias: no gradient reaches the layers below
			}
		}
		return nil
	}
	tr.Optimizer = grad.SGD{}
	g := mustGraph(t, smallArch(), 1)
	m, _ := mustTrain(t, tr, g)
	same := func(name string) bool {
		a, _ := g.Initializer(name).Bytes()
		b, _ := m.Initializer(name).Bytes()
		return bytes.Equal(a, b)
	}
	if !same("embedding.weight") || !same("lstm.W") {
		t.Error("weights below a zero layer have changed")
	}
	if same("linear.weight") {
		t.Error("the master behind a forward copy has not changed")
	}
	tr.Constraint = func(_ int, w Weights) error { clear(w.Master("lstm.B")); return nil }
	m, _ = mustTrain(t, tr, g)
	if b, _ := model.Data[float32](m.Initializer("lstm.B")); b[0] == 1 || math.Abs(float64(b[2*20])) > 0.1 {
		t.Error("a change of a master did not last")
	}
	boom := errors.New("boom")
	tr.Constraint = func(int, Weights) error { return boom }
	if _, _, err := tr.Train(context.Background(), g); !errors.Is(err, boom) {
		t.Errorf("error of the constraint: %v", err)
	}
}

func TestEarlyStop(t *testing.T) {
	tr := smallTrainer(t)
	epoch := 0
	tr.Validate = func(context.Context, *model.Graph) (float64, error) {
		epoch++
		return -math.Abs(float64(epoch - 3)), nil // best after epoch 3
	}
	tr.Patience = 2
	_, rep := mustTrain(t, tr, mustGraph(t, smallArch(), 1))
	if len(rep.Epochs) != 5 || rep.Best != 3 {
		t.Errorf("%d epochs, best %d; want 5 and 3", len(rep.Epochs), rep.Best)
	}
}

func TestTrainerErrors(t *testing.T) {
	good := smallTrainer(t)
	good.Epochs = 1
	g := mustGraph(t, smallArch(), 1)
	for want, change := range map[string]func(*Trainer){
		"epochs 0":        func(tr *Trainer) { tr.Epochs = 0 },
		"learning rate 0": func(tr *Trainer) { tr.LearningRate = 0 },
		"alpha 0.5":       func(tr *Trainer) { tr.Alpha = 0.5 },
		`no "answer"`:     func(tr *Trainer) { tr.Labels = "answer" },
		`loss "hinge"`:    func(tr *Trainer) { tr.Loss = "hinge" },
		"no examples": func(tr *Trainer) {
			tr.Examples = engine.Feeds{All: func() iter.Seq2[engine.Feed, error] { return func(func(engine.Feed, error) bool) {} }}
		},
		`parameter "nosuch"`: func(tr *Trainer) { tr.Params = []string{"nosuch"} },
		"no runtime":         func(tr *Trainer) { tr.Runtime = nil },
	} {
		tr := good
		change(&tr)
		if _, _, err := tr.Train(context.Background(), g); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
