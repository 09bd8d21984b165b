// Package program is what the benchmark programs have in common: how they start, end and say what they ran on.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Main runs the program called name until it ends or is interrupted; a failure is said on standard error and ends it with code 1.
func Main(name string, run func(ctx context.Context, args []string, out, log io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: error: %v\n", name, err)
		os.Exit(1)
	}
}

// Parse parses args and the regular expression that the flag called only has the text of: which rows or tasks are run. Asked for help it
// returns flag.ErrHelp, which is no failure to Main.
func Parse(fl *flag.FlagSet, args []string, only string, expr *string) (*regexp.Regexp, error) {
	if err := fl.Parse(args); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(*expr)
	if err != nil {
		return nil, fmt.Errorf("-%s: %w", only, err)
	}
	return re, nil
}

// Heading writes the line above a table: the date, this machine, and the ONNX Runtime that was compared with.
func Heading(out io.Writer) error {
	facts := measure.ReadHost(os.DirFS("/"))
	_, err := fmt.Fprintf(out, "%s, %s, %d processors, ONNX Runtime 1.32.0.\n\n", time.Now().UTC().Format("2 January 2006"), facts.CPU, facts.Threads)
	return err
}
