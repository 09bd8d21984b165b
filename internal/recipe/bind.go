package recipe

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/internal/tokenize"
	"github.com/wattshed/wattshed/model"
)

// bound is a recipe joined with its model and data: what is scored and what is timed.
type bound struct {
	inputs    task.Inputs   // what is scored
	task      task.Task     // nil when nothing can be scored
	timing    []engine.Feed // one per work item
	describe  string        // of the scored examples
	dataName  string
	dataSHA   string
	digest    string            // of tokenizer and examples
	state     map[string]string // outputs fed back, by input
	labels    []string
	classes   []int
	texts     []string
	encoder   *tokenize.Tokenizer
	maxLength int
	random    bool
	sequence  int    // the length of random sequences that the recipe does not give, 0 where it does
	length    string // where that is from
}

// bind opens the data that the recipe names and checks that they fit the model.
func (r *Recipe) bind(src *source, builtin fs.FS) (*bound, error) {
	b := &bound{}
	switch {
	case r.Inputs.NPZ != "":
		return b, r.bindArrays(b, src)
	case r.Inputs.Images != "":
		return b, r.bindImages(b, src, builtin)
	}
	tok, err := openTokenizer(r.Inputs.Tokenizer, r.Dir, src.graph)
	if err != nil {
		return nil, err
	}
	if tok == nil && r.Inputs.Random == nil && (r.Inputs.Text != "" || r.Task != nil && r.Task.Data != "") {
		if _, err := r.examples(builtin); err != nil { // what is not there comes first
			return nil, err
		}
		return nil, &TokenizerError{Model: filepath.Base(src.name)}
	}
	if r.Inputs.Random != nil || tok == nil {
		return b, r.bindRandom(b, src)
	}
	b.encoder = tok
	if r.Inputs.Tokenizer != "" {
		_, sum, err := fileDigest(resolve(r.Dir, r.Inputs.Tokenizer))
		if err != nil {
			return nil, err
		}
		b.digest = sum + " "
	}
	b.maxLength = r.Inputs.MaxLength
	if b.maxLength == 0 {
		if b.maxLength, err = ModelLength(src.graph); err != nil {
			return nil, err
		}
	}
	positions := task.PositionsOf(src.graph)
	if b.maxLength == 0 {
		b.maxLength = defaultLength(positions)
	}
	data, err := r.examples(builtin)
	if err != nil {
		return nil, err
	}
	b.texts, b.dataName, b.dataSHA = data.Texts(), data.Name, data.SHA256
	b.digest += data.SHA256
	in := &task.Text{Name: data.Name, Texts: b.texts, Encoder: tok, MaxLength: b.maxLength, Pad: tok.PadID(), Empty: tok.UnknownID()}
	if err := in.Bind(graphInputs(src.graph)); err != nil {
		return nil, err
	}
	b.inputs, b.describe = in, in.Describe()
	if r.Task != nil && r.Task.Kind == "classification" {
		if err := b.label(r.Task, src, data); err != nil {
			return nil, err
		}
	}
	b.task = r.scoring(b, r.Target.Batch)
	for name := range positions { // before a text that is so long turns up
		if err := task.CheckPositions(positions, name, []int{1, max(b.maxLength, r.Target.Sequence)}); err != nil {
			return nil, err
		}
	}
	timed := *in
	timed.Fixed = r.Target.Sequence
	return b, b.collect(&timed, src.graph, r.Measure.Inputs, r.Target.Batch)
}

// label finds the classes of the examples of data: the labels in the order of the task, else of the model's metadata, else sorted.
func (b *bound) label(t *TaskSpec, src *source, data *task.Dataset) (err error) {
	b.labels = t.Labels
	if b.labels == nil {
		if b.labels, err = labelsOf(src.graph); err != nil {
			return err
		}
	}
	if b.labels == nil {
		b.labels = data.Labels()
	}
	b.classes, err = data.Classes(b.labels)
	return err
}

// scoring is the task of the recipe on the bound inputs.
func (r *Recipe) scoring(b *bound, batch int) task.Task {
	kind, threshold := "fidelity", 0.0
	if r.Task != nil {
		kind, threshold = r.Task.Kind, r.Task.Threshold
	}
	switch kind {
	case "classification":
		return &task.Classification{Inputs: b.inputs, Classes: b.classes, Batch: batch, Output: r.Inputs.Output, Threshold: float32(threshold)}
	case "agreement":
		return &task.Agreement{Inputs: b.inputs, Batch: batch, Output: r.Inputs.Output, Threshold: float32(threshold)}
	}
	return &task.Fidelity{Inputs: b.inputs, Batch: batch, Output: r.Inputs.Output, Pooling: r.Inputs.Pooling}
}

// examples opens the data of the task, or the text file of the inputs.
func (r *Recipe) examples(builtin fs.FS) (*task.Dataset, error) {
	var d *task.Dataset
	var err error
	switch {
	case r.Task != nil && r.Task.Data != "":
		d, err = openData(r.Task.Data, r.Dir, r.Task.Text, r.Task.Label, builtin)
	case r.Inputs.Text != "":
		d, err = openData(r.Inputs.Text, r.Dir, "text", "", builtin)
	default:
		return nil, fmt.Errorf("recipe: a tokenizer but no texts: give task.data, or inputs.text a file with one text a line")
	}
	if err == nil && r.Task != nil && r.Task.Limit > 0 && r.Task.Limit < len(d.Examples) {
		d.Examples = d.Examples[:r.Task.Limit]
	}
	return d, err
}

// TokenizerError is returned where texts are to be scored, timed or calibrated with and nothing says how they become tokens.
type TokenizerError struct{ Model string }

// Error says what is missing and where it is looked for.
func (e *TokenizerError) Error() string {
	return fmt.Sprintf("recipe: texts need a tokenizer: model %q has none in its metadata, and no tokenizer.json is named", e.Model)
}

func (r *Recipe) bindRandom(b *bound, src *source) error {
	if r.Task != nil && r.Task.Kind == "classification" {
		return fmt.Errorf("recipe: task.kind %q needs texts and a tokenizer, arrays or images: the inputs of model %q are random", r.Task.Kind, filepath.Base(src.name))
	}
	spec := r.Inputs.Random
	if spec == nil {
		spec = &RandomSpec{N: 64}
	}
	in := &task.Random{N: spec.N, Seed: seedOf(spec.Seed), Batch: int64(r.Target.Batch), Sequence: int64(r.Target.Sequence), Shapes: r.Inputs.Shapes}
	if r.Target.Sequence == 0 {
		n, err := ModelLength(src.graph)
		if err != nil {
			return err
		}
		in.Known = int64(n)
	}
	for input := range r.Inputs.State {
		in.Zero = append(in.Zero, input)
	}
	if err := in.Bind(src.graph); err != nil {
		return err
	}
	if err := checkState(r.Inputs.State, src.graph); err != nil {
		return err
	}
	b.inputs = in
	b.random, b.describe, b.dataName, b.state = true, in.Describe(), "random", r.Inputs.State
	if b.length = in.Length(); b.length != "" {
		b.sequence = int(in.Known)
	}
	own := *r
	own.Inputs.Pooling = "none"
	b.task = own.scoring(b, 1)
	return b.collect(in, src.graph, r.Measure.Inputs, 1)
}

// maxSequence bounds the length of sequences, whoever says it.
const maxSequence = 1 << 20

// ModelLength returns the length of token sequences that the model's metadata says, 0 where it says none.
func ModelLength(g *model.Graph) (int, error) {
	s, ok := metadata(g, MetaMaxLength)
	if !ok {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxSequence {
		return 0, fmt.Errorf("recipe: metadata %s: %q is no length: want 1 to %d", MetaMaxLength, s, maxSequence)
	}
	return n, nil
}

// defaultLength is that of texts where neither recipe nor metadata say one: 128, or what the model has positions for.
func defaultLength(most map[string]task.Positions) int {
	n := 128
	for _, p := range most {
		n = min(n, p.Most)
	}
	return n
}

// maxTimingBytes bounds the inputs that are kept in memory for the blocks; the first is kept whatever its size.
const maxTimingBytes = 256 << 20

// collect makes the feeds that a block runs over: at most n runs of batch examples.
func (b *bound) collect(in task.Inputs, g *model.Graph, n, batch int) error {
	feeds, positions := task.Feeds(in, batch), task.PositionsOf(g)
	size := 0
	for f, err := range feeds.All() {
		if err != nil {
			return err
		}
		for name, t := range f {
			if err := task.CheckPositions(positions, name, t.Shape()); err != nil {
				return err
			}
			size += t.ByteSize()
		}
		if len(b.timing) == n || len(b.timing) > 0 && size > maxTimingBytes {
			break
		}
		b.timing = append(b.timing, f)
	}
	if len(b.timing) == 0 {
		return fmt.Errorf("recipe: no inputs to time")
	}
	return nil
}

// graphInputs are the inputs that a caller must give: those without a default among the initializers.
func graphInputs(g *model.Graph) []*model.Value {
	var out []*model.Value
	for _, v := range g.Inputs {
		if g.Initializer(v.Name) == nil {
			out = append(out, v)
		}
	}
	return out
}

// labelsJSON is the form of labels in metadata_props.
func labelsJSON(labels []string) string {
	b, _ := json.Marshal(labels)
	return string(b)
}
