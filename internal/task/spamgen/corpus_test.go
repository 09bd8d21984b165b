package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/wattshed/wattshed/testdata"
)

// committed reads one split of the corpus in testdata/spam.
func committed(t *testing.T, name string) ([]byte, []example) {
	t.Helper()
	data, err := testdata.FS.ReadFile("spam/" + name + ".jsonl.zst")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	lines, err := z.DecodeAll(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []example
	for line := range bytes.Lines(lines) {
		var e example
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, e)
	}
	return data, out
}

// TestCorpusSplits checks what everything trained on the corpus relies on: no near-duplicate crosses the splits, no
// address or link is left, and the balance is that of the source.
func TestCorpusSplits(t *testing.T) {
	private := regexp.MustCompile(`(?i)[a-z0-9]@[a-z0-9-]+\.[a-z]|https?://|\b\d{3}-\d{3}-\d{4}\b`)
	splitOfGroup := map[string]string{}
	ids := map[string]bool{}
	skeletons := map[string]string{}
	for _, name := range splits {
		_, part := committed(t, name)
		spam := spamCount(part)
		if share := float64(spam) / float64(len(part)); share < 0.2 || share > 0.35 {
			t.Errorf("%s: %d of %d are spam", name, spam, len(part))
		}
		for _, e := range part {
			if ids[e.ID] || e.Text == "" || e.Label != "ham" && e.Label != "spam" {
				t.Errorf("%s: %s is repeated, empty or without a label", name, e.ID)
			}
			ids[e.ID] = true
			if other, ok := splitOfGroup[e.Group]; ok && other != name {
				t.Errorf("group %s is in %s and in %s", e.Group, other, name)
			}
			splitOfGroup[e.Group] = name
			if other, ok := skeletons[skeleton(e.Text)]; ok && other != name {
				t.Errorf("the text of %s is in %s and in %s", e.ID, other, name)
			}
			skeletons[skeleton(e.Text)] = name
			if found := private.FindString(e.Text); found != "" {
				t.Errorf("%s: %q is left in the text", e.ID, found)
			}
		}
	}
	if len(ids) < 5000 {
		t.Errorf("the corpus has %d examples, want more than 5,000", len(ids))
	}
}

// TestCorpusReproduced makes the corpus again from the original mails and compares the bytes.
func TestCorpusReproduced(t *testing.T) {
	root := filepath.Join(os.Getenv("WATTSHED_ASSETS"), "D3", "data")
	if _, err := os.Stat(root); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("asset D3 is missing: set WATTSHED_ASSETS")
		}
		t.Skip("asset D3 is missing: set WATTSHED_ASSETS to compare with the original mails")
	}
	out := t.TempDir()
	if err := run(root, out); err != nil {
		t.Fatal(err)
	}
	for _, name := range splits {
		want, _ := committed(t, name)
		got, err := os.ReadFile(filepath.Join(out, name+".jsonl.zst"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s.jsonl.zst differs from the committed file", name)
		}
	}
}
