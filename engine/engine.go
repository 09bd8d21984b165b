// Package engine runs model graphs: Compile turns a Graph into a Plan, a Session runs it. The native
// Runtime is here; engine/ort loads ONNX Runtime behind the same contract.
package engine

import (
	"context"
	"iter"
	"time"

	"github.com/wattshed/wattshed/model"
)

// Feed holds tensors by value name: the inputs of one run, or its outputs.
type Feed map[string]*model.Tensor

// Feeds is a restartable sequence of N Feeds: calibration samples, training batches, examples.
type Feeds struct {
	N   int                           // number of Feeds, or -1 when it is not known
	All func() iter.Seq2[Feed, error] // starts again at the first Feed on every call
}

// Artifact is a model to load: a file, or a graph in memory. A runtime that reads files uses Path, the
// native one uses Graph where it is given and reads an ONNX Path otherwise.
type Artifact struct {
	Path  string
	Graph *model.Graph
}

// Options are the settings of one Session. The zero value is usable.
type Options struct {
	Threads  int           // worker threads, the caller's included; 0 = all processors
	Spin     time.Duration // how long an idle worker spins before it parks, between runs of the native runtime (up to 1 ms within one); 0 = the runtime's default, < 0 = never (within a run of the native runtime up to 20 us, about what waking costs). ONNX Runtime knows only its default and never
	Provider string        // execution provider of a deployment runtime, such as "cpu" or "cuda"; "" = cpu
	Profile  bool          // record the time of every node
	Exact    bool          // use no transformation that changes float results beyond rounding order
	// ProviderOptions are settings of the execution provider in its own words, such as device_id.
	ProviderOptions map[string]string

	Optimize string // graph optimisation of a deployment runtime: "none", "basic", "extended" or "all"; "" = all
	NoFusion bool   // run the graph as it stands: no optimisation passes (native runtime)

	// Skip names passes that are left out, of those that Plan.Passes lists (native runtime); inline and lower cannot be.
	Skip []string

	// Memory bounds the bytes of the values that one Run may hold at a time, whatever sizes a model claims; beyond it Run
	// fails with an error that wraps ErrMemory (native runtime). It counts neither weights nor what kernels keep (see Info), nor the outputs of earlier runs. 0 = three quarters of what the machine has free at Load.
	Memory int64

	// Packs, if not nil, holds the packed weights of all sessions that are loaded with it (native runtime).
	Packs *Packs

	// Watch shows inner values of every run (native runtime); nil for none.
	Watch *Watch

	// Ops adds operators to the native runtime, or replaces its own, by "domain::Op" ("::Op" in the default domain).
	Ops map[string]OpFunc
}

// Runtime loads models for execution on one target.
type Runtime interface {
	// Name returns "native" or "ort".
	Name() string
	// Load prepares the artifact. Errors name the node or the file that cannot be handled, wrapping
	// model.ErrUnsupported where an operator, type or version is the reason.
	Load(ctx context.Context, a Artifact, o Options) (Session, error)
}

// Session is a loaded model. Run may be called from several goroutines at once.
type Session interface {
	// Inputs and Outputs return the declared values of the model.
	Inputs() []*model.Value
	Outputs() []*model.Value
	// Run computes the named outputs, all when none is named. The tensors returned belong to the caller, also when the session is closed;
	// an input that the model passes on as an output comes back in its own memory.
	// A missing or superfluous input, or one of the wrong type or rank, is an error that names it.
	Run(ctx context.Context, in Feed, outputs ...string) (Feed, error)
	// Profile returns the time per operator since Load; nil unless Options.Profile was set.
	Profile() []OpTime
	// Info describes what runs: the runtime, its version, the instruction set, the operators after optimisation.
	Info() Info
	// Close releases the session; calls of Run must have returned.
	Close() error
}

// Mapped is implemented by sessions that may read weights from mapped files while they run.
type Mapped interface {
	// Mappings returns the files. Where model.Whole finds one of them truncated after a run, its outputs may be wrong: a byte behind the end
	// is an error of Run only where its page is gone.
	Mappings() []*model.Mapping
}

// Binder is implemented by sessions that can keep inputs and outputs in place between runs, so that what is measured
// contains no copies, and no new memory of outputs.
type Binder interface {
	// Bind hands over the inputs, which must not change until the Bound is closed. Errors are those of Session.Run.
	Bind(in Feed) (Bound, error)
}

// Bound is a session with inputs in place. It is for one goroutine at a time; Close of the session closes it too.
type Bound interface {
	// Run computes all outputs and returns when the device has finished; they stay where the runtime puts them.
	Run(ctx context.Context) error
	// Outputs copies the outputs of the last Run, or, where they stay on a device, those of the same inputs computed anew; the tensors belong
	// to the caller.
	Outputs() (Feed, error)
	// Close releases what is held.
	Close() error
}

// FallbackCounter is implemented by sessions that count the runs that fell back, at the cost of next to nothing.
type FallbackCounter interface {
	// Fallbacks are those of Info.
	Fallbacks() []Fallback
}

// OpTime is the work done by the nodes of one operator and kernel.
type OpTime struct {
	Op     string        // operator type after optimisation
	Kernel string        // the implementation chosen, such as "gemm-avx512"; "" when not known
	Count  int           // nodes
	Calls  int           // runs of those nodes; those on the slices of a batch are one
	Time   time.Duration // summed over Calls; of the slices of a batch, their share of the time that all of them took, side by side or not
	MACs   int64         // multiply-accumulates per inference of those nodes, 0 when not known
	Bytes  int64         // bytes of weights read per inference, each weight once, also where every slice of a batch reads it; 0 when not known
}

// Info describes a Session.
type Info struct {
	Runtime, Version, Provider, ISA string
	Threads                         int
	Ops                             map[string]int // histogram of operators after optimisation
	// WeightBytes is the size of the weights as they are held: packed ones, those that are read where they lie in a file, and transformed ones that runs
	// have made. ArenaBytes is the memory of the values of a run, without its outputs, and of the scratch of its operators. Both are 0 when not known. What kernels keep for
	// their next call, panels of weights, rounded rows and tiles, is in neither, nor in Options.Memory: it belongs to all sessions of the process, the
	// collector takes it once it is not in use, and in the models that are measured it is at most 3 MiB and a quarter of ArenaBytes.
	WeightBytes, ArenaBytes int64
	Warnings                []string
	Fallbacks               []Fallback // of the runs so far, which one odd shape makes slow (native runtime)
}
