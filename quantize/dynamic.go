package quantize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// Dynamic are the settings of dynamic int8 quantization: weights are stored as 8-bit integers,
// activations are quantized at run time.
type Dynamic struct {
	DType       model.DType // of the weights of products: Int8, symmetric, or Uint8, asymmetric; 0 means Int8
	Granularity Granularity // "" means PerChannel
	Ops         []string    // operators to quantize; nil means DynamicOps
	ReduceRange *bool       // int8 weights of 7 bits; nil means what CPU needs
	CPU         CPU         // that the file is for; "" means HostCPU
	Exclude     []string    // what is left as it is, quantized already or not: see Static.Exclude

	packer func(*dynamicPlan, *dynamicWeight) error // makes the forms of a weight; nil means dynamicPlan.pack
}

// DynamicOps are the operators that dynamic int8 quantization handles.
var DynamicOps = []string{"MatMul", "Gemm", "Gather", "LSTM", "GRU", "RNN"}

// Apply rewrites g in place. MatMul and Gemm with a constant right-hand side become
// DynamicQuantizeLinear, MatMulInteger, Cast and Mul, the pattern that ONNX Runtime fuses; Gather from a constant table reads a uint8 table and dequantizes the rows; LSTM becomes
// com.microsoft.DynamicQuantizeLSTM. No runtime has an integer form of GRU and RNN: their weights are stored in 8 bits behind
// DequantizeLinear, which saves bytes and not time, and the notes say so. A weight read in several of these ways is stored once for each. Weights in
// Constant nodes, behind Identity, in bodies, and read in bodies from the graph around them are handled alike. A model
// below opset 11, or below 13 with GRU or RNN, is raised to 13, and a note says so.
//
// The notes say for every weight of one or more dimensions what was done or why it was left. It fails with
// ErrQuantized on a model that is quantized already and with ErrNothing (notes still given) when less
// than MinShare of the weight bytes would change; g is unchanged after an error.
func (d Dynamic) Apply(g *model.Graph) ([]model.Note, error) {
	if err := d.validate(g); err != nil {
		return nil, err
	}
	need := int64(11)
	eachGraph(g, func(g *model.Graph) {
		for _, n := range g.Nodes {
			if (n.Is("GRU") || n.Is("RNN")) && slices.Contains(d.Ops, n.Op) {
				need = 13 // DequantizeLinear by axis
			}
		}
	})
	return withOpset(g, need, d.scheme()+" operators", d.apply)
}

// scheme describes the settings in notes.
func (d *Dynamic) scheme() string { return "dynamic " + d.DType.String() }

func (d Dynamic) apply(g *model.Graph) ([]model.Note, error) {
	p, err := d.plan(g)
	if err != nil {
		return nil, err
	}
	notes := []model.Note{p.range7}
	for _, w := range p.weights {
		notes = append(notes, w.note())
	}
	if err := check(d.scheme(), notes); err != nil {
		return notes, err
	}
	p.rewrite(g)
	return notes, nil
}

// validate checks the settings and completes them, and refuses models that cannot be quantized as a whole.
func (d *Dynamic) validate(g *model.Graph) error {
	if d.Granularity == "" {
		d.Granularity = PerChannel
	}
	if d.DType == model.Invalid {
		d.DType = model.Int8
	}
	if d.DType != model.Int8 && d.DType != model.Uint8 {
		return fmt.Errorf("quantize: dynamic weights of %s: want int8 or uint8: %w", d.DType, model.ErrUnsupported)
	}
	if err := d.CPU.Check(); err != nil {
		return err
	}
	if d.Granularity != PerChannel && d.Granularity != PerTensor {
		return fmt.Errorf("quantize: granularity %q: want %s or %s", d.Granularity, PerTensor, PerChannel)
	}
	if d.Ops == nil {
		d.Ops = DynamicOps
	}
	for _, op := range d.Ops {
		if !slices.Contains(DynamicOps, op) {
			return fmt.Errorf("quantize: dynamic int8 of operator %q: want some of %s: %w", op, strings.Join(DynamicOps, ", "), model.ErrUnsupported)
		}
	}
	if err := checkExclude(d.Exclude); err != nil {
		return err
	}
	return refuse(g, d.Exclude)
}

// form is a way in which a node reads a weight, and so in which the weight is stored.
type form int

const (
	columns    form = iota // int8, [K,N], symmetric by column: MatMul, Gemm
	transposed             // int8, [N,K] stored as [K,N], symmetric by row: Gemm with transB
	table                  // uint8, asymmetric by row: Gather
	gates                  // int8, [directions,N,K] stored as [directions,K,N], symmetric by row: LSTM
	restored               // in its own shape behind DequantizeLinear by row: GRU, RNN
)

// packed is a weight in one of its forms.
type packed struct {
	form           form
	q, scale, zero *model.Tensor
	names          [3]string // of the initializers, once they are in the graph
	perChannel     bool
	codes          codes
}

func (p *packed) bytes() int64 {
	return int64(p.q.ByteSize() + p.scale.ByteSize() + p.zero.ByteSize())
}

// word describes the form in notes.
func (p *packed) word() string {
	switch {
	case p.form != table:
		word := p.codes.dtype.String() + " "
		if p.codes.r == sevenBits {
			word += "(7 bits) "
		}
		return word + map[bool]string{true: string(PerChannel), false: string(PerTensor)}[p.perChannel]
	case p.perChannel:
		return "uint8 per-row"
	}
	return "uint8 " + string(PerTensor)
}

// dynamicWeight is a float weight in the planning.
type dynamicWeight struct {
	*model.Weight
	why   string // it is left: why
	forms []*packed
}

func (w *dynamicWeight) form(f form) *packed {
	for _, p := range w.forms {
		if p.form == f {
			return p
		}
	}
	return nil
}

func (w *dynamicWeight) note() model.Note {
	n := newNote(w.Weight)
	if w.why != "" {
		n.Reason = w.why
		return n
	}
	n.BytesAfter = 0
	var words []string
	for _, p := range w.forms {
		n.BytesAfter += p.bytes()
		words = append(words, p.word())
	}
	n.Action = strings.Join(words, " and ")
	if w.form(restored) != nil {
		n.Reason = restoredRemark
	}
	return n
}

// restoredRemark says what the weights of GRU and RNN gain.
const restoredRemark = "fewer bytes, float products: no runtime multiplies the weights of GRU and RNN as integers; the native engine dequantizes them once, at load"

// input is an input of a node.
type input struct {
	node  *model.Node
	index int
}

// dynamicPlan says what becomes of every weight and node.
type dynamicPlan struct {
	Dynamic
	weights []*dynamicWeight
	at      map[input]*dynamicWeight // what the inputs of nodes read
	names   *namer
	reduce  bool       // int8 weights of 7 bits
	range7  model.Note // says so, and why
}

// plan decides on all weights and quantizes them; the graph is not changed.
func (d Dynamic) plan(g *model.Graph) (*dynamicPlan, error) {
	p := &dynamicPlan{Dynamic: d, at: map[input]*dynamicWeight{}, names: newNamer(g)}
	p.chooseRange()
	outputs := outputNames(g)
	for _, w := range g.Weights() {
		if !w.Tensor.DType().IsFloat() || w.Tensor.Rank() == 0 {
			continue
		}
		dw := &dynamicWeight{Weight: w}
		p.weights = append(p.weights, dw)
		for _, u := range w.Uses {
			p.at[input{u.Node, u.Input}] = dw
		}
		if dw.why = p.whyLeft(w); dw.why == "" && outputs[w.Graph][w.Value] {
			dw.why = "an output of the graph"
		}
	}
	p.pairs()
	for _, w := range p.weights {
		if w.why != "" {
			continue
		}
		pack := p.packer
		if pack == nil {
			pack = (*dynamicPlan).pack
		}
		err := pack(p, w)
		if errors.Is(err, errNotFinite) {
			w.why, w.forms = err.Error(), nil
		} else if err != nil {
			return nil, fmt.Errorf("quantize: weight %q: %w", w.Name, err)
		}
	}
	p.pairs()
	return p, nil
}

// pairs leaves both weights of an LSTM when one of them is left, until nothing changes.
func (p *dynamicPlan) pairs() {
	for again := true; again; {
		again = false
		for _, w := range p.weights {
			if w.why != "" {
				continue
			}
			for _, u := range w.Uses {
				if !u.Node.Is("LSTM") {
					continue
				}
				other := p.at[input{u.Node, 3 - u.Input}]
				if other == nil {
					w.why, again = "the other matrix of the LSTM is computed", true
				} else if other.why != "" {
					w.why, again = fmt.Sprintf("the other matrix of the LSTM, %q, is left: %s", other.Name, other.why), true
				}
			}
			if w.why != "" {
				w.forms = nil
			}
		}
	}
}

// whyLeft returns why w cannot be quantized for its readers, or "".
func (p *dynamicPlan) whyLeft(w *model.Weight) string {
	if len(w.Uses) == 0 {
		return "no node reads it"
	}
	if by := excludesWeight(p.Exclude, w); by != "" {
		return fmt.Sprintf(excludedBy+"%q", by)
	}
	for _, u := range w.Uses { // the reason that names static quantization counts most
		if w.Tensor.Rank() > 2 && (u.Node.Is("Conv") || u.Node.Is("ConvTranspose")) {
			return u.Node.Op + " needs static quantization with calibration data"
		}
	}
	switch {
	case w.Tensor.DType() != model.Float32:
		return "stored as " + w.Tensor.DType().String()
	case w.Tensor.Rank() < 2:
		return "a vector"
	case w.Tensor.Len() == 0:
		return "empty"
	}
	for _, u := range w.Uses {
		if why := p.whyNot(w.Tensor, u); why != "" {
			return why
		}
	}
	return ""
}

// whyNot returns why t cannot be quantized for one of its readers, or "".
func (p *dynamicPlan) whyNot(t *model.Tensor, u model.Use) string {
	n := u.Node
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return fmt.Sprintf("read by %s.%s", n.Domain, n.Op)
	}
	if !slices.Contains(DynamicOps, n.Op) {
		return fmt.Sprintf("read by %s, which has no dynamic int8 form", n.Op)
	}
	if !slices.Contains(p.Ops, n.Op) {
		return fmt.Sprintf("%s is not among the operators to quantize", n.Op)
	}
	switch n.Op {
	case "MatMul", "Gemm":
		switch {
		case t.Rank() != 2:
			return fmt.Sprintf("a stack of matrices, of rank %d", t.Rank())
		case u.Input != 1:
			return fmt.Sprintf("input %d of %s, not its right-hand side", u.Input, n.Op)
		case n.Op == "MatMul":
			return ""
		case n.Int("transA", 0) != 0:
			return "Gemm with transA"
		case n.Float("alpha", 1) != 1:
			return fmt.Sprintf("Gemm with alpha %g", n.Float("alpha", 1))
		case n.In(2) != "" && n.Float("beta", 1) != 1:
			return fmt.Sprintf("Gemm with beta %g", n.Float("beta", 1))
		}
	case "Gather":
		axis := n.Int("axis", 0)
		switch {
		case u.Input != 0:
			return "the indices of a Gather"
		case axis != 0 && axis != -int64(t.Rank()):
			return fmt.Sprintf("gathered along axis %d", axis)
		case t.Len() < minTable:
			return fmt.Sprintf("a table of fewer than %d elements", minTable)
		}
	case "LSTM", "GRU", "RNN":
		switch {
		case u.Input != 1 && u.Input != 2:
			return fmt.Sprintf("input %d of the %s, no matrix", u.Input, n.Op)
		case t.Rank() != 3:
			return fmt.Sprintf("an %s matrix of rank %d", n.Op, t.Rank())
		case n.Op == "LSTM" && n.Int("layout", 0) != 0:
			return "LSTM with layout 1"
		}
	}
	return ""
}

// minTable is the number of elements below which a table is not worth the nodes that dequantize its rows.
const minTable = 4096
