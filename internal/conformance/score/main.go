// Command score runs the ONNX operator tests on the native runtime and prints on what and when, of how many tests, and the score by tier.
//
//	go run ./internal/conformance/score [-v] [-run REGEXP] [ARCHIVE]
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/internal/conformance"
	"github.com/wattshed/wattshed/measure"
)

func main() {
	verbose := flag.Bool("v", false, "list every failure")
	nofuse := flag.Bool("nofusion", false, "run the graphs without optimisation passes")
	only := flag.String("run", "", "run only tests whose names match this regular expression")
	flag.Parse()
	file := "testdata/conformance/onnx-node-1.23.2.tgz"
	if flag.NArg() > 0 {
		file = flag.Arg(0)
	}
	if err := run(file, *only, *verbose, *nofuse); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(file, only string, verbose, nofuse bool) error {
	re, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	cases, err := conformance.ReadCorpus(file)
	if err != nil {
		return err
	}
	var list []conformance.Outcome
	for _, c := range cases {
		if !re.MatchString(c.Name) {
			continue
		}
		o := conformance.Run(c, engine.Options{NoFusion: nofuse})
		if o.Err != nil && verbose {
			msg, _, _ := strings.Cut(o.Err.Error(), "\n")
			fmt.Printf("T%d %s: %s\n", o.Tier, o.Name, msg)
		}
		list = append(list, o)
	}
	if _, err := fmt.Printf("%s\n\n", heading(measure.ReadHost(os.DirFS("/")), filepath.Base(file), len(list), len(cases))); err != nil {
		return err
	}
	return conformance.Tally(list).Write(os.Stdout)
}

// heading names the machine, the day and the tests that ran.
func heading(host measure.HostFacts, file string, ran, all int) string {
	virtual := ""
	if host.Virtualized {
		virtual = ", virtual"
	}
	cpu := host.CPU
	if cpu == "" {
		cpu = "a CPU that does not tell its name"
	}
	of := ""
	if ran < all {
		of = fmt.Sprintf(" of %d", all)
	}
	return fmt.Sprintf("%s (%d processors%s), %s, %s: %d%s tests of %s.", cpu, host.Threads, virtual, kernel.Active(), time.Now().UTC().Format("2006-01-02"), ran, of, file)
}
