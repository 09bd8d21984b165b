package quantize

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Algorithm chooses the codes of weight-only quantization.
type Algorithm string

// Algorithms.
const (
	RTN  Algorithm = "rtn"  // round to nearest, from the weights alone
	GPTQ Algorithm = "gptq" // columns in turn, the error of each spread over those that are left
	AWQ  Algorithm = "awq"  // inputs scaled by how large their activations are, extremes clipped
	HQQ  Algorithm = "hqq"  // zero points by half-quadratic optimisation, from the weights alone
)

// Algorithms lists them.
var Algorithms = []Algorithm{RTN, GPTQ, AWQ, HQQ}

// Format is how weights of few bits stand in the graph.
type Format string

// Formats.
const (
	NBits Format = "matmulnbits" // com.microsoft.MatMulNBits and GatherBlockQuantized
	QDQ   Format = "qdq"         // DequantizeLinear by block in front of the reader, opset 21
)

// WeightOnly are the settings of weight-only quantization: weights of 4 or 8 bits in groups along the input dimension,
// activations left in float.
type WeightOnly struct {
	Bits      int       // 4 or 8; 0 means 4
	Group     int       // inputs that share a scale: a power of two from 16 on; 0 means 32, WholeChannel all of them
	Symmetric bool      // no zero points
	Algorithm Algorithm // "" means RTN
	Format    Format    // "" means NBits
	Ops       []string  // operators to quantize; nil means WeightOnlyOps
	Exclude   []string  // what is left as it is, quantized already or not: see Static.Exclude

	// Feeds are inputs for GPTQ and AWQ, which look at the activations that they cause in the native engine.
	Feeds   engine.Feeds
	Threads int // of the native engine; 0 = all processors

	// Checkpoints is a folder in which GPTQ, AWQ and HQQ keep every weight that is finished, so that a job that was killed goes
	// on from there when it is called again and ends with the same bytes; "" keeps none. What is found there counts only for
	// the same model, settings and feeds. The caller removes the folder when the output is safe.
	Checkpoints string
}

// WholeChannel is the Group of one scale per output.
const WholeChannel = -1

// WeightOnlyOps are the operators that weight-only quantization handles.
var WeightOnlyOps = []string{"MatMul", "Gemm", "Gather"}

// Apply rewrites g in place. MatMul and Gemm with a constant right-hand side become com.microsoft.MatMulNBits, Gather
// from a constant table com.microsoft.GatherBlockQuantized; with the format QDQ the weight is made by DequantizeLinear
// in front of its readers, at opset 21, and a table becomes uint8 with a scale per row, of which only the rows that are
// looked up are dequantized. A weight read in several ways is stored once for each. Weights in Constant nodes, behind
// Identity, in bodies, and read in bodies from the graph around them are handled alike.
//
// GPTQ and AWQ need Feeds; a weight whose activations cannot be seen (it is read in a body) is rounded to nearest, and
// its note says so. Tables have no activations: GPTQ and AWQ choose their extremes by least squares.
//
// The notes say for every weight of one or more dimensions what was done or why it was left. It fails with
// ErrQuantized on a model that is quantized already and with ErrNothing (notes still given) when less than MinShare of
// the weight bytes would change; g is unchanged after an error.
func (o WeightOnly) Apply(ctx context.Context, g *model.Graph) ([]model.Note, error) {
	if err := o.validate(g); err != nil {
		return nil, err
	}
	return withOpset(g, o.opset(), o.scheme()+" weights", func(g *model.Graph) ([]model.Note, error) {
		p := o.plan(g)
		if err := p.pack(ctx, g); err != nil {
			return nil, err
		}
		if err := check(o.scheme()+" weights", p.notes()); err != nil {
			return p.notes(), err
		}
		p.rewrite(g)
		return p.notes(), nil
	})
}

// scheme returns the recipe's word.
func (o WeightOnly) scheme() string { return fmt.Sprintf("int%d", o.Bits) }

// opset returns the lowest operator set that the written graph needs.
func (o WeightOnly) opset() int64 {
	if o.Format == QDQ {
		return 21
	}
	return 7 // of the first operators as they are now
}

// Check completes the settings and refuses those that make no sense.
func (o *WeightOnly) Check() error {
	if o.Bits == 0 {
		o.Bits = 4
	}
	if o.Group == 0 {
		o.Group = 32
	}
	if o.Algorithm == "" {
		o.Algorithm = RTN
	}
	if o.Format == "" {
		o.Format = NBits
	}
	if o.Ops == nil {
		o.Ops = WeightOnlyOps
	}
	switch {
	case o.Bits != 4 && o.Bits != 8:
		return fmt.Errorf("quantize: weights of %d bits: want 4 or 8", o.Bits)
	case o.Group != WholeChannel && (o.Group < 16 || o.Group&(o.Group-1) != 0 || o.Group > 1<<16):
		return fmt.Errorf("quantize: groups of %d: want a power of two from 16 on, or %d for whole channels", o.Group, WholeChannel)
	case !slices.Contains(Algorithms, o.Algorithm):
		return fmt.Errorf("quantize: algorithm %q: want one of %v", o.Algorithm, Algorithms)
	case o.Format != NBits && o.Format != QDQ:
		return fmt.Errorf("quantize: format %q: want %s or %s", o.Format, NBits, QDQ)
	}
	if err := checkExclude(o.Exclude); err != nil {
		return err
	}
	for _, op := range o.Ops {
		if !slices.Contains(WeightOnlyOps, op) {
			return fmt.Errorf("quantize: weight-only quantization of operator %q: want some of %s: %w", op, strings.Join(WeightOnlyOps, ", "), model.ErrUnsupported)
		}
	}
	return nil
}

func (o *WeightOnly) validate(g *model.Graph) error {
	if err := o.Check(); err != nil {
		return err
	}
	if o.NeedsFeeds() && o.Feeds.All == nil {
		return fmt.Errorf("quantize: algorithm %s: needs inputs to see activations, and there are none", o.Algorithm)
	}
	return refuse(g, o.Exclude)
}

// NeedsFeeds reports whether the algorithm looks at activations.
func (o WeightOnly) NeedsFeeds() bool { return o.Algorithm == GPTQ || o.Algorithm == AWQ }

// refuse returns why a model cannot be quantized, or nil. Where exclude says what is left, parts of the model may be quantized already.
func refuse(g *model.Graph, exclude []string) error {
	if s := Styles(g); len(s) > 0 && exclude == nil {
		return fmt.Errorf("quantize: %w: %s", ErrQuantized, strings.Join(s, ", "))
	}
	if v := g.Opset(""); v > 27 {
		return fmt.Errorf("quantize: ONNX Runtime has no quantized operators for opset %d, the model's: %w", v, model.ErrUnsupported)
	}
	return nil
}

// block returns the form of a matrix of k inputs and n outputs.
func (o WeightOnly) block(k, n int) nbits {
	group := o.Group
	if group == WholeChannel {
		for group = 16; group < k; group *= 2 {
		}
	}
	return nbits{k, n, group, o.Bits, o.Symmetric}
}

// stored is a weight in one of its forms.
type stored struct {
	form form
	nbits
	rows8          *packed // a table for the format QDQ, else nil
	q, scale, zero *model.Tensor
	inverse        *model.Tensor // what activations are multiplied by first, or nil
	made           *blocks       // what it is made of, until that is saved
	names          [4]string     // of q, scale, zero and inverse, once they are in the graph
	how            string        // what was done, for the note
	kept           int           // outputs that GPTQ or AWQ left rounded to nearest
	remark         string
}

func (s *stored) tensors() []*model.Tensor {
	if s.rows8 != nil {
		return []*model.Tensor{s.rows8.q, s.rows8.scale, s.rows8.zero}
	}
	return []*model.Tensor{s.q, s.scale, s.zero, s.inverse}
}

// weightPlan says what becomes of one weight.
type weightPlan struct {
	*model.Weight
	why   string // it is left: why
	forms []*stored
}

func (w *weightPlan) form(f form) *stored {
	for _, s := range w.forms {
		if s.form == f {
			return s
		}
	}
	return nil
}

// weightOnlyPlan says what becomes of every weight and node.
type weightOnlyPlan struct {
	WeightOnly
	weights []*weightPlan
	at      map[input]*weightPlan
	names   *namer
	top     *model.Graph
	// inverses are the names of what activations are multiplied by; weights share them.
	inverses map[*model.Tensor]string
	factors  map[*model.Weight][]float32 // of AWQ, once they are known; nil for none
}

// plan decides on all weights; values are not looked at, and the graph is not changed.
func (o WeightOnly) plan(g *model.Graph) *weightOnlyPlan {
	p := &weightOnlyPlan{WeightOnly: o, at: map[input]*weightPlan{}, names: newNamer(g), top: g, inverses: map[*model.Tensor]string{}, factors: map[*model.Weight][]float32{}}
	outputs := outputNames(g)
	for _, w := range g.Weights() {
		if !w.Tensor.DType().IsFloat() || w.Tensor.Rank() == 0 {
			continue
		}
		wp := &weightPlan{Weight: w}
		p.weights = append(p.weights, wp)
		if wp.why = p.whyLeft(w); wp.why == "" && outputs[w.Graph][w.Value] {
			wp.why = "an output of the graph"
		}
		for _, u := range w.Uses {
			p.at[input{u.Node, u.Input}] = wp
			if f := formOf(u); wp.why == "" && wp.form(f) == nil {
				wp.forms = append(wp.forms, p.newStored(f, w.Tensor.Shape()))
			}
		}
	}
	return p
}

// newStored returns the empty form of a weight.
func (p *weightOnlyPlan) newStored(f form, shape []int) *stored {
	s := &stored{form: f}
	if f == columns {
		s.nbits = p.block(shape[0], shape[1])
	} else {
		s.nbits = p.block(shape[1], shape[0])
	}
	if f == table && p.Format == QDQ {
		s.rows8, s.how = &packed{form: table, perChannel: true}, "uint8 per-row"
		return s
	}
	s.how = fmt.Sprintf("int%d %s group %d", p.Bits, p.Algorithm, p.Group)
	if p.Group == WholeChannel {
		s.how = fmt.Sprintf("int%d %s %s", p.Bits, p.Algorithm, PerChannel)
	}
	return s
}

// whyLeft returns why w cannot be quantized for its readers, or "".
func (p *weightOnlyPlan) whyLeft(w *model.Weight) string {
	switch {
	case len(w.Uses) == 0:
		return "no node reads it"
	case excludesWeight(p.Exclude, w) != "":
		return fmt.Sprintf(excludedBy+"%q", excludesWeight(p.Exclude, w))
	case w.Tensor.DType() != model.Float32:
		return "stored as " + w.Tensor.DType().String()
	case w.Tensor.Rank() < 2:
		return "a vector"
	case w.Tensor.Len() == 0:
		return "empty"
	}
	d := &dynamicPlan{Dynamic: Dynamic{Ops: p.Ops}}
	for _, u := range w.Uses {
		if !slices.Contains(WeightOnlyOps, u.Node.Op) && u.Node.Is(u.Node.Op) {
			return fmt.Sprintf("read by %s, which has no weight-only form", u.Node.Op)
		}
		if why := d.whyNot(w.Tensor, u); why != "" {
			return why
		}
		if u.Node.Op != "Gather" {
			continue
		}
		if w.Tensor.Rank() != 2 {
			return fmt.Sprintf("a table of rank %d", w.Tensor.Rank())
		}
		if p.Format == NBits && w.Tensor.Shape()[1]*p.Bits%8 != 0 {
			return fmt.Sprintf("rows of %d elements, which do not fill bytes", w.Tensor.Shape()[1])
		}
	}
	return ""
}

// notes returns a note per weight, and one of how far GPTQ or AWQ got.
func (p *weightOnlyPlan) notes() []model.Note {
	notes := p.weightNotes()
	if p.NeedsFeeds() {
		notes = append(notes, p.summary())
	}
	return notes
}

// weightNotes returns a note per weight.
func (p *weightOnlyPlan) weightNotes() []model.Note {
	var notes []model.Note
	for _, w := range p.weights {
		n := newNote(w.Weight)
		if n.Reason = w.why; w.why == "" {
			n.BytesAfter = 0
			var words, remarks []string
			for _, s := range w.forms {
				for _, t := range s.tensors() {
					if t != nil {
						n.BytesAfter += int64(t.ByteSize())
					}
				}
				words = append(words, s.how)
				if s.remark != "" && !slices.Contains(remarks, s.remark) {
					remarks = append(remarks, s.remark)
				}
			}
			n.Action, n.Reason = strings.Join(words, " and "), strings.Join(remarks, "; ")
		}
		notes = append(notes, n)
	}
	return notes
}

// summary says how far GPTQ or AWQ got.
func (p *weightOnlyPlan) summary() model.Note {
	weights, whole, outputs, kept := 0, 0, 0, 0
	for _, w := range p.weights {
		for _, s := range w.forms {
			if w.why != "" || s.form == table {
				continue
			}
			weights, outputs, kept = weights+1, outputs+s.n, kept+s.kept
			if s.kept == s.n {
				whole++
			}
		}
	}
	return model.Note{Weight: "(model)", Action: fmt.Sprintf("%s of %d matrices", p.Algorithm, weights-whole),
		Reason: fmt.Sprintf("%d of %d matrices are rounded to nearest as a whole, %d of %d outputs in all", whole, weights, kept, outputs)}
}
