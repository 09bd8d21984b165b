package main

// Rules of the user interface: one line says what is wrong (thing, value, reason), one line what to type
// next where there is something; progress is a bar on a terminal and a plain line every few seconds
// elsewhere; results go to standard output and nothing else does.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/wattshed/wattshed/internal/recipe"
)

// hintError carries what to type next.
type hintError struct {
	err  error
	hint string
}

// Error returns the message without the hint.
func (e hintError) Error() string { return e.err.Error() }

// Unwrap returns the error that the hint belongs to.
func (e hintError) Unwrap() error { return e.err }

func withHint(err error, hint string) error {
	if err == nil || hint == "" {
		return err
	}
	return hintError{err, hint}
}

func hintOf(err error) string {
	var h hintError
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// progress shows how far work is. It is safe for concurrent use; a nil one is silent.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	bars  *mpb.Progress // nil when w is no terminal
	bar   *mpb.Bar
	what  string
	last  time.Time
	start time.Time
}

// plainEvery is the least time between two plain progress lines.
const plainEvery = 10 * time.Second

// newProgress returns the display for standard error, nil with --quiet.
func newProgress(c *cli.Context) *progress {
	if c.Bool("quiet") {
		return nil
	}
	p := &progress{w: c.App.ErrWriter, start: time.Now()}
	if f, ok := p.w.(*os.File); ok && isTerminal(f) {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40), mpb.WithAutoRefresh())
	}
	return p
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// set shows that done of total of what is finished.
func (p *progress) set(what string, done, total int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		if !p.last.IsZero() && time.Since(p.last) < plainEvery {
			return
		}
		p.what, p.last = what, time.Now()
		fmt.Fprintf(p.w, "%6.1fs  %s", time.Since(p.start).Seconds(), what)
		if total > 0 {
			fmt.Fprintf(p.w, " %d/%d", done, total)
		}
		fmt.Fprintln(p.w)
		return
	}
	if what != p.what || p.bar == nil {
		if p.bar != nil {
			p.bar.Abort(true)
		}
		p.what = what
		p.bar = p.bars.AddBar(int64(max(total, 1)), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(what+" ")), mpb.AppendDecorators(decor.CountersNoUnit("%d/%d "), decor.Elapsed(decor.ET_STYLE_GO)))
	}
	p.bar.SetTotal(int64(max(total, 1)), false)
	p.bar.SetCurrent(int64(done))
}

// close takes the bar away.
func (p *progress) close() {
	if p == nil || p.bars == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.bar.Abort(true)
	}
	p.bars.Wait()
}

// one returns the single positional argument, called what in messages.
func one(c *cli.Context, what string) (string, error) {
	switch c.Args().Len() {
	case 1:
		return c.Args().First(), nil
	case 0:
		return "", usagef("%s: missing", what)
	}
	return "", usagef("%s: %q is one too many", what, c.Args().Get(1))
}

// modelFile returns the one argument MODEL of a command that takes a file, and nothing built in.
func modelFile(c *cli.Context) (string, error) {
	path, err := one(c, "MODEL")
	if err == nil {
		if err = recipe.FileOnly(path); err != nil {
			err = usageError{err}
		}
	}
	return path, err
}

// quietFlag silences progress.
func quietFlag() cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"}
}

// jsonFlag asks for JSON on standard output.
func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }
