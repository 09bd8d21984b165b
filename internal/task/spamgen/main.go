// Command spamgen makes the spam corpus in testdata/spam from the SpamAssassin public corpus.
//
//	go run ./internal/task/spamgen [-out testdata/spam] FOLDER
//
// FOLDER holds the folders easy-ham-1, easy-ham-2, hard-ham-1, spam-1 and spam-2 with one raw mail per .txt file. Each
// mail is reduced to its subject and text, see clean; near-duplicates are grouped, see groups; a hash of the group
// decides the split. The same folder gives the same bytes.
//
// Each of train, validation and test.jsonl.zst holds one JSON object a line:
//
//	{"id": "spam-1/00001", "label": "spam", "group": "spam-1/00001", "text": "Subject\nbody ..."}
//
// in the order of the ids; group is the id of the first mail of the near-duplicates.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	// seed goes into the hash that assigns groups to splits.
	seed = "wattshed spam 1"
	// keepTrain is the number of near-duplicates of one group kept in the train split; validation and test keep one,
	// so that their examples are independent.
	keepTrain = 4
)

// folders are the parts of the corpus, in the order of the output.
var folders = []string{"easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2"}

// splits are the names of the output files.
var splits = []string{"train", "validation", "test"}

// example is one line of the output.
type example struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	Group string `json:"group"`
	Text  string `json:"text"`
}

func main() {
	out := flag.String("out", "testdata/spam", "folder for the three files")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: spamgen [-out DIR] FOLDER")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *out); err != nil {
		fmt.Fprintln(os.Stderr, "spamgen: error:", err)
		os.Exit(1)
	}
}

// run makes the three files and prints one line with the counts of each.
func run(in, out string) error {
	all, read, err := readCorpus(in)
	if err != nil {
		return err
	}
	parts := split(all)
	fmt.Printf("mails %d, with text %d\n", read, len(all))
	for i, name := range splits {
		data, err := encode(parts[i])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		path := filepath.Join(out, name+".jsonl.zst")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		fmt.Printf("%-10s %d examples, %d spam, %d bytes, sha256 %x\n", name, len(parts[i]), spamCount(parts[i]), len(data), sha256.Sum256(data))
	}
	return nil
}

func spamCount(part []example) int {
	n := 0
	for _, e := range part {
		if e.Label == "spam" {
			n++
		}
	}
	return n
}

// readCorpus reads and cleans every mail under root, in the order of folders and file names; mails without any letter
// of text are left out. The second result is the number of files read.
func readCorpus(root string) ([]example, int, error) {
	var all []example
	read := 0
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join(root, folder, "*.txt"))
		if err != nil {
			return nil, 0, err
		}
		if len(paths) == 0 {
			return nil, 0, fmt.Errorf("%s: no .txt files", filepath.Join(root, folder))
		}
		label := "ham"
		if strings.HasPrefix(folder, "spam") {
			label = "spam"
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				return nil, 0, err
			}
			read++
			text := clean(parseMail(raw))
			if skeleton(text) == "" {
				continue
			}
			number, _, _ := strings.Cut(filepath.Base(path), ".")
			all = append(all, example{ID: folder + "/" + number, Label: label, Text: text})
		}
	}
	return all, read, nil
}

// split groups near-duplicates and assigns each group by sha256(seed, group): 70 % train, 10 % validation, 20 % test.
func split(all []example) [3][]example {
	texts := make([]string, len(all))
	for i := range all {
		texts[i] = all[i].Text
	}
	first := groups(texts)
	kept := map[int]int{}
	var parts [3][]example
	for i, e := range all {
		e.Group = all[first[i]].ID
		part := splitOf(e.Group)
		limit := 1
		if part == 0 {
			limit = keepTrain
		}
		if kept[first[i]]++; kept[first[i]] <= limit {
			parts[part] = append(parts[part], e)
		}
	}
	return parts
}

// splitOf is 0 for train, 1 for validation, 2 for test.
func splitOf(group string) int {
	sum := sha256.Sum256([]byte(seed + "\x00" + group))
	switch n := binary.BigEndian.Uint64(sum[:]) % 10; {
	case n < 7:
		return 0
	case n < 8:
		return 1
	}
	return 2
}

// encode writes the examples as JSON lines in one zstd frame.
func encode(part []example) ([]byte, error) {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	for _, e := range part {
		if err := enc.Encode(e); err != nil {
			return nil, err
		}
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	return z.EncodeAll(lines.Bytes(), nil), nil
}
