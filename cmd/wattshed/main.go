// Wattshed compresses trained models and measures what that saves: accuracy, latency, energy and carbon,
// before and after.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/quantize"
)

// version and commit are set by the linker: version in releases, commit by make, since a build may leave the revision out.
var (
	version = "0.1.0-dev"
	commit  string
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitGateFailed   = 3
	exitInconclusive = 4
)

// usageError marks an error of the command line.
type usageError struct{ err error }

// Error returns the message of the fault.
func (e usageError) Error() string { return e.err.Error() }

// Unwrap returns the fault itself.
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// codeError ends the program with a code and no message: everything was said.
type codeError int

// Error names the exit code.
func (e codeError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// run is the program: it parses args, carries out the command and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	results := &resultWriter{w: out}
	app := newApp(in, results, errw)
	permuted, err := permute(app, args)
	if err == nil && len(args) > 2 && args[1] == "help" && app.Command(args[2]) == nil {
		err = unknownCommand(app, args[2]) // the parser would call it a failure
	}
	if err == nil {
		err = app.RunContext(ctx, permuted)
	}
	if err == nil && results.err != nil {
		err = fmt.Errorf("standard output: %w", results.err)
	}
	return report(errw, args, err)
}

// newApp builds the command table.
func newApp(in io.Reader, out, errw io.Writer) *cli.App {
	app := &cli.App{
		Name:                 "wattshed",
		Usage:                "compress models, and prove what that saves",
		Version:              versionText(tool()),
		Reader:               in,
		Writer:               out,
		ErrWriter:            errw,
		HideVersion:          false,
		EnableBashCompletion: true,
		Suggest:              false,
		ExitErrHandler:       func(*cli.Context, error) {},
		OnUsageError:         unknownFlag,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknownCommand(c.App, c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Description: "wattshed demo shows all of it on a built-in model; wattshed help COMMAND has an example of each command.\n" +
			"quantize, prune and distill make a model from a model; measure sets models beside the first one; run does all of\n" +
			"that from a recipe, and judges its gates (wattshed help run lists them).\n\n" +
			"Results go to standard output, progress and diagnostics to standard error.\n" +
			"Exit codes: 0 ok, 1 failed, 2 bad usage, 3 a gate failed, 4 a gate is inconclusive.\n" +
			"A recipe that makes no sense is bad usage.",
	}
	app.Commands = []*cli.Command{
		demoCommand(), runCommand(), searchCommand(), pruneCommand(), quantizeCommand(), distillCommand(), trainCommand(),
		measureCommand(), evalCommand(), inspectCommand(), verifyCommand(), compareCommand(), explainCommand(), reportCommand(), carbonCommand(), doctorCommand(), runtimeCommand(),
		completionCommand(), memoryCommand(),
	}
	for _, c := range app.Commands {
		c.OnUsageError = app.OnUsageError
		if act := c.Action; act != nil {
			c.Action = func(ctx *cli.Context) error {
				if err := positive(ctx); err != nil {
					return err
				}
				return byFlags(ctx.Command, act(ctx))
			}
		}
		for _, f := range c.Flags {
			tidyDefault(f)
		}
	}
	return app
}

// positives are the flags whose value counts something that there must be some of. A zero stands for a flag that was not given, so one that
// was given is refused.
var positives = []string{"epochs", "batch", "max-length", "vocabulary", "learning-rate", "pairs", "precision", "block-seconds", "max-seconds", "samples", "sequence",
	"temperature", "percentile", "embedding", "hidden", "size", "resize"}

// maxThreads is the most that --threads takes, as target.threads of a recipe does.
const maxThreads = 1024

// positive refuses flags of that kind that were given as zero or less.
func positive(c *cli.Context) error {
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if name == "group" && c.IsSet(name) && c.Int(name) == 0 { // less than 0 stands for all elements, where there is that
			return usagef("--%s: 0: no group has 0 elements", name)
		}
		if name == "threads" && c.IsSet(name) && (c.Int(name) < 0 || c.Int(name) > maxThreads) {
			return usagef("--%s: %d: want 0 to %d", name, c.Int(name), maxThreads)
		}
		if !slices.Contains(positives, name) || !c.IsSet(name) {
			continue
		}
		bad := false
		switch f.(type) {
		case *cli.IntFlag:
			bad = c.Int(name) <= 0
		case *cli.Float64Flag:
			bad = !(c.Float64(name) > 0)
		}
		if bad {
			return usagef("--%s: %v: want more than 0", name, c.Value(name))
		}
	}
	return nil
}

// tidyDefault keeps "(default: false)" and "(default: 0)" out of the help: a zero means that a flag was not given, and what then
// holds stands in its usage.
func tidyDefault(f cli.Flag) {
	text := func(usage *string, def *string) {
		if *def != "" {
			return
		}
		if i := strings.LastIndex(*usage, " (default "); i >= 0 && strings.HasSuffix(*usage, ")") {
			*def = (*usage)[i+len(" (default ") : len(*usage)-1]
			*usage = (*usage)[:i]
			return
		}
		*def = "none"
	}
	switch f := f.(type) {
	case *cli.BoolFlag:
		f.DisableDefaultText = true
	case *cli.IntFlag:
		if f.Value == 0 {
			text(&f.Usage, &f.DefaultText)
		}
	case *cli.Float64Flag:
		if f.Value == 0 {
			text(&f.Usage, &f.DefaultText)
		}
	}
}

// later are the commands that a later version will have.
var later = []string{"gate", "sweep"}

// permute moves the flags of a command before its positional arguments, since the parser stops at the
// first of those; everything after "--" is positional. A flag whose value is missing is an error here, where its place is still known.
func permute(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 || strings.HasPrefix(args[1], "-") {
		return args, nil
	}
	cmd := app.Command(args[1])
	if cmd == nil || cmd.SkipFlagParsing {
		return args, nil
	}
	boolean := map[string]bool{"help": true, "h": true, "generate-bash-completion": true}
	for _, f := range cmd.Flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, n := range f.Names() {
			boolean[n] = boolean[n] || isBool
		}
	}
	var flags, rest []string
	list := args[2:]
	for i := 0; i < len(list); i++ {
		a := list[i]
		switch {
		case a == "--":
			rest = append(rest, list[i+1:]...)
			i = len(list)
		case len(a) > 1 && a[0] == '-':
			flags = append(flags, a)
			name := strings.TrimLeft(a, "-")
			if strings.Contains(name, "=") || boolean[name] || !known(cmd, name) {
				continue
			}
			if i++; i == len(list) || isFlag(cmd, list[i]) {
				return nil, usagef("flag needs an argument: %s", dashed(name))
			}
			flags = append(flags, list[i])
		default:
			rest = append(rest, a)
		}
	}
	out := append([]string{args[0], args[1]}, flags...)
	if len(rest) > 0 {
		out = append(out, "--")
	}
	return append(out, rest...), nil
}

// isFlag tells whether an argument is a flag of the command or ends the flags, and so is no value of the one before it.
func isFlag(cmd *cli.Command, arg string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return arg == "--" || strings.HasPrefix(arg, "-") && known(cmd, name)
}

func known(cmd *cli.Command, name string) bool {
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			return true
		}
	}
	return false
}

// report prints an error with its hint and returns the exit code.
func report(w io.Writer, args []string, err error) int {
	var code codeError
	var usage usageError
	var name *recipe.NameError
	var fault *recipe.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, recipe.ErrValue), errors.As(err, &fault): // of a flag, or in a recipe's file, where it has its place
		err = usageError{err}
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(w, "wattshed: error: interrupted\n")
		if h := hintOf(err); h != "" {
			fmt.Fprintf(w, "wattshed: hint: %s\n", h)
		}
		return exitFailed
	}
	fmt.Fprintf(w, "wattshed: error: %s\n", oneLine(message(err)))
	hint := hintOf(err)
	switch {
	case hint != "":
	case errors.Is(err, ort.ErrNotFound):
		hint = hintRuntime()
	case errors.As(err, &name) && name.Want == "file":
		hint = "wattshed train builtin:spam/train -o spam.onnx makes a file to try things on"
	case errors.As(err, &name):
		hint = didYouMean(name.Name, name.Known())
	case errors.Is(err, quantize.ErrDisk):
		hint = "an output on another disk, or a smaller scheme; wattshed quantize --plan says what a scheme takes"
	case strings.Contains(err.Error(), "malformed protobuf"):
		hint = "is it an ONNX model, and whole?"
	}
	isUsage := errors.As(err, &usage)
	if hint == "" && isUsage {
		hint = "wattshed help"
		if len(args) > 1 && !strings.HasPrefix(args[1], "-") {
			hint += " " + args[1]
		}
	}
	if hint != "" {
		fmt.Fprintf(w, "wattshed: hint: %s\n", hint)
	}
	if isUsage {
		return exitUsage
	}
	return exitFailed
}

// hintRuntime returns what to type where ONNX Runtime is not found.
func hintRuntime() string {
	if ort.Static {
		return "a program that is built without -tags static loads ONNX Runtime; the native runtime needs none"
	}
	return "wattshed runtime install fetches ONNX Runtime; " + ort.EnvLibrary + " names a library that lies elsewhere; the native runtime needs none"
}

// message is the text of err, with a failed file operation as thing, value and reason.
func message(err error) string {
	s := err.Error()
	var pe *fs.PathError
	if !errors.As(err, &pe) {
		return s
	}
	if s == pe.Error() {
		return fmt.Sprintf("file: %s: %v", pe.Path, pe.Err)
	}
	return strings.Replace(s, pe.Error(), fmt.Sprintf("%s: %v", pe.Path, pe.Err), 1)
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\n", " ")), " ")
}
