// Command similarity tells what compression does to a sentence encoder: the cosine of its embeddings with those of the
// first model on a file of sentences, and the rank correlation of the similarity of sentence pairs with human scores (STS
// Benchmark), with paired 95 % intervals.
//
//	go run ./internal/bench/similarity -tokenizer tokenizer.json -sts sts-dev.csv -sentences sentences.txt base.onnx small.onnx ...
//
// The STS data are not part of this project: -sts names the file, tab-separated without quotes, score and sentences in
// columns 5 to 7. Sentences have at most 64 tokens; an embedding is the mean of the token vectors.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/internal/task/sts"
	"github.com/wattshed/wattshed/internal/tokenize"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "similarity: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("similarity", flag.ContinueOnError)
	tokenizer := fs.String("tokenizer", "", "tokenizer.json of the models")
	benchmark := fs.String("sts", "", "STS Benchmark file; none: no correlation")
	texts := fs.String("sentences", "", "file of one sentence a line; none: no cosine")
	runtime := fs.String("runtime", "native", "native or ort (found in $WATTSHED_ORT or on this system)")
	threads := fs.Int("threads", 0, "threads; 0 = all processors")
	maxTokens := fs.Int("max-tokens", 64, "tokens of a sentence")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 || *tokenizer == "" {
		return errors.New("name -tokenizer and one or more models")
	}
	file, err := os.Open(*tokenizer)
	if err != nil {
		return err
	}
	defer file.Close()
	tok, err := tokenize.Load(file)
	if err != nil {
		return err
	}
	var pairs []sts.Pair
	if *benchmark != "" {
		if pairs, err = sts.ReadPairs(*benchmark); err != nil {
			return err
		}
	}
	lines, err := readLines(*texts)
	if err != nil {
		return err
	}
	var rt engine.Runtime = engine.Native{}
	if *runtime == "ort" {
		rt = &ort.Runtime{Library: os.Getenv("WATTSHED_ORT")}
	}
	tw := tabwriter.NewWriter(out, 2, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "model\tbytes\tratio\tcosine mean (n=%d)\tp01\tSpearman (n=%d)\tminus first [95 %%]\tPearson\n", len(lines), len(pairs))
	var first *scores
	for _, path := range fs.Args() {
		e := &sts.Encoder{Tokenizer: tok, Max: *maxTokens}
		if e.Session, err = rt.Load(ctx, engine.Artifact{Path: path}, engine.Options{Threads: *threads}); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		s, err := scored(ctx, e, lines, pairs)
		e.Session.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if s.bytes, err = sizeOf(path); err != nil {
			return err
		}
		if first == nil {
			first = s
		}
		s.print(tw, path, first, pairs)
		tw.Flush()
	}
	return nil
}

// sizeOf returns the bytes of a model with its external data.
func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	n := info.Size()
	if data, err := os.Stat(path + ".data"); err == nil {
		n += data.Size()
	}
	return n, nil
}

func readLines(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Split(string(b), "\n"), func(s string) bool { return strings.TrimSpace(s) == "" }), nil
}
