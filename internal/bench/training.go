package main

import (
	"bufio"
	"context"
	_ "embed" // the program for PyTorch
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"

	"github.com/wattshed/wattshed/distill"
	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/grad"
	"github.com/wattshed/wattshed/model"
)

// A step of training the built-in classifier, beside the same step in PyTorch where a Python has it.

// torchStep trains the same model in PyTorch: one step for every line that it reads.
//
//go:embed torch_step.py
var torchStep string

// trainingArch is that of testdata/spam/model.onnx.
var trainingArch = distill.Arch{Kind: "lstm", Vocabulary: 10000, Embedding: 64, Hidden: 128, Classes: 2, Pooling: "max"}

// trainingRow measures the steps. Without a Python the row has the native figure alone.
func (b *bench) trainingRow(ctx context.Context, r row) (*result, error) {
	res := &result{Row: r.name, Threads: r.threads, Goal: r.goal}
	cs := []*contender{{name: "native", session: newTrainingSession(ctx, r, b.seed)}}
	defer func() {
		for _, c := range cs {
			c.session.Close()
		}
	}()
	if b.python == "" {
		res.Note = "the native figure alone: -python names no Python with PyTorch"
	} else {
		s, err := newTorchSession(ctx, b.python, r.threads)
		if err != nil {
			return nil, err
		}
		b.helper = func() time.Duration { return s.cpu }
		defer func() { b.helper = nil }()
		cs = append(cs, &contender{name: "PyTorch " + s.version, session: s})
		res.Note = "beside PyTorch " + s.version + " on the CPU, not ONNX Runtime"
	}
	step := func(c *contender) error {
		_, err := c.session.Run(ctx, nil)
		return err
	}
	var err error
	for _, c := range cs {
		if c.calls, err = b.calibrate(c, step); err != nil {
			return nil, err
		}
	}
	if err := b.roundsOf(ctx, r, cs, step, res); err != nil {
		return nil, err
	}
	return res, b.summarise(cs, res)
}

// trainingSession is a training run that does a step for every call of Run.
type trainingSession struct {
	engine.Session // nil: only what follows is called
	next, ready    chan struct{}
	failed         chan error
}

var errClosed = errors.New("closed")

func newTrainingSession(ctx context.Context, r row, seed uint64) *trainingSession {
	s := &trainingSession{next: make(chan struct{}), ready: make(chan struct{}), failed: make(chan error, 1)}
	t := distill.Trainer{Runtime: engine.Native{}, Threads: r.threads, Epochs: 1 << 20, Batch: 32, Seed: seed, LearningRate: 1e-3,
		Optimizer: grad.AdamW{WeightDecay: 0.01}, Clip: 1, Constraint: func(int, distill.Weights) error {
			s.ready <- struct{}{}
			if _, ok := <-s.next; !ok {
				return errClosed
			}
			return nil
		}, Examples: engine.Feeds{N: 8 * 32, All: func() iter.Seq2[engine.Feed, error] {
			return func(yield func(engine.Feed, error) bool) {
				for i := range uint64(8) {
					rng := rand.New(rand.NewPCG(seed, i))
					f, labels := r.feed(rng), make([]int64, 32)
					for k := range labels {
						labels[k] = rng.Int64N(2)
					}
					f["labels"] = model.FromSlice([]int{32}, labels)
					if !yield(f, nil) {
						return
					}
				}
			}
		}}}
	go func() {
		_, _, err := distill.Train(ctx, trainingArch, t)
		if err == nil {
			err = errors.New("training ended")
		}
		s.failed <- err
	}()
	select {
	case <-s.ready:
	case err := <-s.failed:
		s.failed <- err
	}
	return s
}

// Run does one step.
func (s *trainingSession) Run(context.Context, engine.Feed, ...string) (engine.Feed, error) {
	select {
	case s.next <- struct{}{}:
	case err := <-s.failed:
		s.failed <- err
		return nil, err
	}
	select {
	case <-s.ready:
		return nil, nil
	case err := <-s.failed:
		s.failed <- err
		return nil, err
	}
}

// Close ends the run.
func (s *trainingSession) Close() error {
	close(s.next)
	if err := <-s.failed; !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

// torchSession is a Python process that does a step for every line it is sent.
type torchSession struct {
	engine.Session // nil: only what follows is called
	cmd            *exec.Cmd
	in             io.WriteCloser
	out            *bufio.Reader
	version        string
	cpu            time.Duration // that the process has used
}

func newTorchSession(ctx context.Context, python string, threads int) (*torchSession, error) {
	s := &torchSession{cmd: exec.CommandContext(ctx, python, "-c", torchStep, fmt.Sprint(threads))}
	var log strings.Builder
	s.cmd.Stderr = &log
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	line, err := s.out.ReadString('\n')
	if err != nil {
		s.in.Close()
		_ = s.cmd.Wait() // its words say more
		return nil, fmt.Errorf("PyTorch in %s: %s", python, strings.TrimSpace(log.String()))
	}
	s.version = strings.TrimSpace(line)
	return s, nil
}

// Run does one step.
func (s *torchSession) Run(context.Context, engine.Feed, ...string) (engine.Feed, error) {
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return nil, err
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("PyTorch ended: %w", err)
	}
	var seconds float64
	if _, err := fmt.Sscan(line, &seconds); err != nil {
		return nil, fmt.Errorf("PyTorch says %q", line)
	}
	s.cpu = time.Duration(seconds * 1e9)
	return nil, nil
}

// Close ends the process.
func (s *torchSession) Close() error {
	s.in.Close()
	return s.cmd.Wait()
}
