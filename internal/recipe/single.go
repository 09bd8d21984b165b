package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// quantizingSuffix ends the name of the folder that keeps finished weights beside the output.
const quantizingSuffix = ".quantizing"

// ErrSameFile is wrapped when the output of a command would replace its input.
var ErrSameFile = errors.New("is the input itself")

// Single are the arguments of ApplyStage.
type Single struct {
	In, Out  string
	Stage    Stage
	Runtimes map[string]engine.Runtime
	Training *Training
	Threads  int
	Builtin  fs.FS    // the built-in data
	Reads    []string // other files that are read, none of which may be Out
	Progress func(what string, done, total int)

	// Inputs says what the inputs of calibration are like: Inputs and Target of a recipe. nil: stages have none.
	Inputs *Recipe

	Disk   int64 // bytes that may be written; 0: what is free where Out goes
	Stream bool  // work block by block, if the stage can, whatever the size of the model
	Digest bool  // fill Outcome.SHA256, which takes a second per gigabyte or two
}

// Outcome says what ApplyStage did.
type Outcome struct {
	Notes       []model.Note `json:"notes"`
	Remarks     []string     `json:"remarks,omitempty"` // such as that the opset was raised; see IsWarning
	BytesBefore int64        `json:"bytes_before"`
	BytesAfter  int64        `json:"bytes_after"`
	SHA256      string       `json:"sha256"` // of what was written, a model's external data behind it; "" unless Single.Digest
}

// ApplyStage applies one stage to the model file In and writes Out, whole or not at all. When the stage
// leaves the model as it is, the notes come with the error and nothing is written. A stage that trains keeps its epochs
// in the folder Out + ".training" until Out is written, one that quantizes with GPTQ, AWQ or HQQ its finished weights in Out +
// ".quantizing", and goes on from there when it is called again after it was killed or canceled.
func ApplyStage(ctx context.Context, s Single) (*Outcome, error) {
	if err := s.Stage.check(); err != nil {
		return nil, err
	}
	if err := distinct(s.In, s.Out, s.Reads...); err != nil {
		return nil, err
	}
	f, err := onnx.Open(s.In)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := model.CheckOperators(f.Graph()); err != nil {
		return nil, fmt.Errorf("%s: %w", s.In, err)
	}
	for _, w := range f.Graph().Weights() { // external data
		if m := w.Tensor.Mapping(); m != nil && (m.SameFile(s.Out) || m.SameFile(s.Out+".data")) {
			return nil, fmt.Errorf("output %q %w: weights are read from there", s.Out, ErrSameFile)
		}
	}
	var out *Outcome
	err = model.Guard(f.Graph().Mappings, func() (err error) {
		if s.streams(f) {
			out, err = s.stream(ctx, f)
		} else {
			out, err = s.apply(ctx, f)
		}
		return err
	})
	return out, err
}

// apply applies the stage to the whole model in memory.
func (s Single) apply(ctx context.Context, f *onnx.File) (*Outcome, error) {
	g := f.Graph().Clone()
	out := &Outcome{}
	raised, err := raise(g, s.Stage)
	if err != nil {
		return nil, withCustom(err, f.Graph())
	}
	out.Remarks = said(raised, customRemark(f.Graph()), excludeRemark(s.Stage, f.Graph()))
	env := &Env{Training: s.Training, Runtime: "native", Provider: "cpu", Seed: 1, Threads: s.Threads}
	if s.Progress != nil {
		env.Progress = s.Progress
	}
	if s.Inputs != nil {
		env.Calibrating, env.State = s.Inputs.calibrating(&source{name: s.In, path: s.In, graph: f.Graph()}, s.Builtin), s.Inputs.Inputs.State
	}
	if s.Training != nil {
		var teacher engine.Session
		defer func() {
			if teacher != nil {
				teacher.Close()
			}
		}()
		env.Teacher = func(ctx context.Context) (_ engine.Session, err error) {
			if teacher, err = s.Runtimes["native"].Load(ctx, engine.Artifact{Graph: f.Graph()}, engine.Options{Threads: s.Threads}); err != nil {
				return nil, fmt.Errorf("teacher: %w", err)
			}
			return teacher, nil
		}
		env.Checkpoints = s.Out + trainingSuffix
	}
	if q, ok := s.Stage.(*Quantize); ok && q.weightOnly() && q.Algorithm != string(quantize.RTN) {
		env.Checkpoints = s.Out + quantizingSuffix
		defer func() {
			if ctx.Err() == nil {
				os.RemoveAll(env.Checkpoints)
			}
		}()
	}
	if err := canceled(ctx, s.Stage.Name()); err != nil {
		return nil, err
	}
	restore, err := s.roomy(ctx, f)
	if err != nil {
		return nil, err
	}
	defer restore()
	next, notes, err := s.Stage.Apply(ctx, g, env)
	out.Notes = notes
	if err != nil {
		return out, withCustom(err, f.Graph())
	}
	if changed, _ := model.Touched(notes); changed == 0 {
		return out, fmt.Errorf("%s touched nothing", s.Stage.Name())
	}
	if err := canceled(ctx, s.Stage.Name()); err != nil {
		return out, err
	}
	if err := model.Whole(f.Graph().Mappings()); err != nil {
		return out, err
	}
	if err := save(s.Out, next); err != nil {
		return out, err
	}
	written, err := onnx.Open(s.Out)
	if err != nil {
		return out, err
	}
	defer written.Close()
	out.BytesBefore, out.BytesAfter = modelBytes(s.In, f.Graph()), modelBytes(s.Out, written.Graph())
	if s.Digest {
		if _, out.SHA256, err = fileDigest(modelFiles(s.Out, written.Graph())...); err != nil {
			return out, err
		}
	}
	return out, os.RemoveAll(s.Out + trainingSuffix)
}

// distinct refuses an output that is the input, or another file that is read.
func distinct(in, out string, others ...string) error {
	if err := FileOnly(in); err != nil {
		return err
	}
	if _, err := os.Stat(in); err != nil {
		return err
	}
	return Apart(out, append(others, in)...)
}

// Apart returns an error that wraps ErrSameFile when out is one of the files that are read. Names of what is built in, "" and
// files that are not there are passed over.
func Apart(out string, reads ...string) error {
	b, err := os.Stat(out)
	if err != nil {
		return nil
	}
	for _, in := range reads {
		if a, err := os.Stat(in); err == nil && os.SameFile(a, b) {
			return fmt.Errorf("output %q %w", out, ErrSameFile)
		}
	}
	return nil
}

// said are the remarks that are not empty.
func said(remarks ...string) []string {
	return slices.DeleteFunc(remarks, func(s string) bool { return s == "" })
}

// IsWarning tells whether a remark is a warning: something that was asked for has no effect.
func IsWarning(remark string) bool { return strings.HasPrefix(remark, warning) }

// runnable are the operator domains besides the standard ones that a runtime here has.
const runnable = "com.microsoft"

// withCustom adds the first operator that no runtime here has, unless err names it: it is then the likely reason.
func withCustom(err error, g *model.Graph) error {
	if custom := model.CustomOperators(g, runnable); err != nil && len(custom) > 0 && !strings.Contains(err.Error(), custom[0].String()) {
		return fmt.Errorf("%w; %s: the operator domain %q is not known", err, custom[0], custom[0].Domain)
	}
	return err
}

// customRemark names the operators that a stage passes on and that no runtime here has; it is empty where there are none.
func customRemark(g *model.Graph) string {
	custom := model.CustomOperators(g, runnable)
	if len(custom) == 0 {
		return ""
	}
	s := fmt.Sprintf("%s: the operator domain %q is not known here, so it is kept as it is and the model cannot be run to check it", custom[0], custom[0].Domain)
	if n := len(custom) - 1; n > 0 {
		s += fmt.Sprintf("; %d other operators likewise", n)
	}
	return s
}
