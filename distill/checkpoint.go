package distill

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
)

// Checkpoint keeps named byte strings between runs.
type Checkpoint interface {
	// Save puts b in the place of what name held, all or nothing.
	Save(name string, b []byte) error
	// Load returns what was saved last; an error that wraps fs.ErrNotExist when nothing was.
	Load(name string) ([]byte, error)
}

// Folder is a Checkpoint in the files of a directory, which it makes. A file is written under another name, flushed to the disk and
// renamed.
type Folder string

var _ Checkpoint = Folder("")

// Save writes the file.
func (d Folder) Save(name string, b []byte) (err error) {
	if err := os.MkdirAll(string(d), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(string(d), "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(string(d), name))
}

// Load reads the file.
func (d Folder) Load(name string) ([]byte, error) { return os.ReadFile(filepath.Join(string(d), name)) }

// stateName is the name of the one thing that a Trainer saves.
const stateName = "trainer.state"

const stateMagic = "wattshed.trainer/1\n"

// stateHeader is the part of a saved state that is not numbers of weights.
type stateHeader struct {
	Fingerprint []byte
	Step        int
	BestScore   float64
	BestEpoch   int
	Bad         int
	History     []EpochReport
	Sizes       []int // of every tensor that follows: weights, slots, best
	HasBest     bool
}

var (
	errState = errors.New("is no trainer state")
	errOther = errors.New("is of another run")
)

// encode returns magic, header length, header, float32 values, sha256 of all that.
func (h stateHeader) encode(tensors [][]float32) ([]byte, error) {
	for _, x := range tensors {
		h.Sizes = append(h.Sizes, len(x))
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b := []byte(stateMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(head)))
	b = append(b, head...)
	for _, x := range tensors {
		for _, v := range x {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// decodeState is the inverse of encode. It allocates no more than a small multiple of len(b).
func decodeState(b []byte) (h stateHeader, tensors [][]float32, err error) {
	if len(b) < len(stateMagic)+4+sha256.Size || string(b[:len(stateMagic)]) != stateMagic {
		return h, nil, errState
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(want[:], sum) {
		return h, nil, fmt.Errorf("%w: its checksum does not fit", errState)
	}
	rest := body[len(stateMagic):]
	n := binary.LittleEndian.Uint32(rest)
	rest = rest[4:]
	if uint64(n) > uint64(len(rest)) {
		return h, nil, fmt.Errorf("%w: header of %d bytes", errState, n)
	}
	if err := json.Unmarshal(rest[:n], &h); err != nil {
		return h, nil, fmt.Errorf("%w: %v", errState, err)
	}
	rest = rest[n:]
	for _, size := range h.Sizes {
		if size < 0 || size > len(rest)/4 {
			return h, nil, fmt.Errorf("%w: tensor of %d elements in %d bytes", errState, size, len(rest))
		}
		x := make([]float32, size)
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(rest[4*i:]))
		}
		tensors = append(tensors, x)
		rest = rest[4*size:]
	}
	if len(rest) != 0 {
		return h, nil, fmt.Errorf("%w: %d bytes too many", errState, len(rest))
	}
	return h, tensors, nil
}

// save writes the state after an epoch.
func (j *job) save() error {
	if j.t.Checkpoint == nil {
		return nil
	}
	tensors := append([][]float32(nil), j.weights...)
	for _, s := range j.slots {
		tensors = append(tensors, s...)
	}
	tensors = append(tensors, j.best...)
	h := stateHeader{Fingerprint: j.print[:], Step: j.step, BestScore: j.bestScore, BestEpoch: j.bestEpoch, Bad: j.bad, History: j.history, HasBest: j.best != nil}
	b, err := h.encode(tensors)
	if err == nil {
		err = j.t.Checkpoint.Save(stateName, b)
	}
	if err != nil {
		return fmt.Errorf("distill: checkpoint: %w", err)
	}
	return nil
}

// resume loads the state, if there is one of this very run, and returns the number of epochs that it spares. A state of another
// run, or a damaged one, is not used: training starts at the beginning, and unused says why.
func (j *job) resume() (epochs int, unused error, err error) {
	if j.t.Checkpoint == nil {
		return 0, nil, nil
	}
	b, err := j.t.Checkpoint.Load(stateName)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("distill: checkpoint: %w", err)
	}
	h, tensors, err := decodeState(b)
	if err != nil {
		return 0, err, nil
	}
	if !bytes.Equal(h.Fingerprint, j.print[:]) || len(h.History) > j.t.Epochs {
		return 0, errOther, nil
	}
	dst := append([][]float32(nil), j.weights...)
	for _, s := range j.slots {
		dst = append(dst, s...)
	}
	var best [][]float32
	if h.HasBest {
		best = copySlices(j.weights)
		dst = append(dst, best...)
	}
	same := func(a, b []float32) bool { return len(a) == len(b) }
	if !slices.EqualFunc(dst, tensors, same) {
		return 0, errOther, nil
	}
	for i := range dst {
		copy(dst[i], tensors[i])
	}
	j.best, j.step, j.bestScore, j.bestEpoch, j.bad, j.history = best, h.Step, h.BestScore, h.BestEpoch, h.Bad, h.History
	return len(j.history), nil, nil
}

// fingerprint identifies the run: its settings, its first weights, its examples and the teacher's answers.
func (j *job) fingerprint() [32]byte {
	h := sha256.New()
	t := j.t
	fmt.Fprintf(h, "%s|%s|%g|%g|%d|%d|%g|%T%+v|%s|%g|%v|%v|%d\n", t.Loss, j.lossOut, t.Temperature, t.Alpha, j.batch, t.Seed, t.LearningRate,
		j.opt, j.opt, j.plan, t.Clip, t.Constraint != nil, t.Validate != nil, t.Patience)
	fmt.Fprintf(h, "%d epochs, dropout %+v\n", t.Epochs, t.WordDropout)
	put := func(x []float32) {
		var b [4]byte
		for _, v := range x {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
			h.Write(b[:])
		}
	}
	for i, p := range j.params {
		fmt.Fprintf(h, "%q %v %v\n", p, j.shapes[i], j.keep[i] != nil)
		if j.keep[i] != nil {
			fmt.Fprintf(h, "%x\n", j.keep[i].Words)
		}
		put(j.weights[i])
	}
	names := append([]string(nil), j.data.names...)
	sort.Strings(names)
	for _, name := range names {
		c := j.data.columns[name]
		fmt.Fprintf(h, "%q %s %d\n", name, c.dtype, len(c.rows))
		for i, r := range c.rows {
			fmt.Fprintf(h, "%v", c.shapes[i])
			h.Write(r)
		}
	}
	return [32]byte(h.Sum(nil))
}
