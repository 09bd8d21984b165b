package tokenize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func unzstd(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "testdata"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	out, err := z.DecodeAll(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func miniLM(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := Load(bytes.NewReader(unzstd(t, "tokenize", "tokenizer.json.zst")))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// hashIDs is the digest that testdata/tokenize/gen.py writes.
func hashIDs(ids []int64) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = strconv.FormatInt(id, 10)
	}
	sum := sha256.Sum256([]byte(strings.Join(s, ",")))
	return hex.EncodeToString(sum[:8])
}

// TestReferenceIDs compares the ids of 10,000 strings with those of the reference implementation.
func TestReferenceIDs(t *testing.T) {
	tok := miniLM(t)
	spam := map[string]string{}
	for _, part := range []string{"train", "validation", "test"} {
		for line := range bytes.Lines(unzstd(t, "spam", part+".jsonl.zst")) {
			var e struct{ ID, Text string }
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			spam[part+"/"+e.ID] = e.Text
		}
	}
	n, failed := 0, 0
	for line := range bytes.Lines(unzstd(t, "tokenize", "wordpiece.jsonl.zst")) {
		var c struct {
			Text, Spam, Hash string
			IDs              []int64
			N                int
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		n++
		text, ok := c.Text, true
		if c.Spam != "" {
			if text, ok = spam[c.Spam]; !ok {
				t.Fatalf("case %d: mail %q is not in the corpus", n, c.Spam)
			}
		}
		got, types, mask := tok.Encode(text, -1)
		same := slices.Equal(got, c.IDs)
		if c.Spam != "" {
			same = len(got) == c.N && hashIDs(got) == c.Hash
		}
		if !same {
			if failed++; failed <= 20 {
				t.Errorf("case %d: %q: got %v, want %v (%d)", n, text, head(got), head(c.IDs), c.N)
			}
		}
		if len(types) != len(got) || len(mask) != len(got) || slices.Max(types) != 0 || slices.Min(mask) != 1 {
			t.Fatalf("case %d: %d ids, types %v, mask %v", n, len(got), types, mask)
		}
	}
	if n != 10000 || failed > 0 {
		t.Errorf("%d of %d cases differ, want 0 of 10000", failed, n)
	}
}

func head(ids []int64) []int64 { return ids[:min(len(ids), 40)] }

// TestReferenceCodePoints compares how every code point is normalised and split, by a hash over each 256 of them.
func TestReferenceCodePoints(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "tokenize", "codepoints.txt"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(data))
	if len(want) != 0x1100 {
		t.Fatalf("%d blocks, want %d", len(want), 0x1100)
	}
	n := bertNormalizer{cleanText: true, chineseChars: true, stripAccents: true, lowercase: true}
	for block, hash := range want {
		h := sha256.New()
		for c := rune(block * 256); c < rune(block*256+256); c++ {
			if c >= 0xd800 && c < 0xe000 {
				continue
			}
			s := "x" + string(c) + "x"
			var pieces []string
			splitWords(s, func(p string) { pieces = append(pieces, p) })
			h.Write([]byte(n.normalize(s) + "\x1f" + strings.Join(pieces, "\x1e") + "\n"))
		}
		if got := hex.EncodeToString(h.Sum(nil)[:4]); got != hash {
			t.Errorf("code points %04X to %04X: hash %s, want %s", block*256, block*256+255, got, hash)
		}
	}
}

// TestReferenceBrown compares the ids of the first sentence of each text of the Brown corpus.
func TestReferenceBrown(t *testing.T) {
	root := filepath.Join(os.Getenv("WATTSHED_ASSETS"), "D12", "texts")
	if _, err := os.Stat(root); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("asset D12 is missing: set WATTSHED_ASSETS")
		}
		t.Skip("asset D12 is missing: set WATTSHED_ASSETS to compare on the Brown corpus")
	}
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "tokenize", "brown.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	tok := miniLM(t)
	cases := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(cases) != 500 {
		t.Fatalf("%d cases, want 500", len(cases))
	}
	for _, line := range cases {
		f := strings.Split(line, "\t")
		ids, _, _ := tok.Encode(brownSentence(t, filepath.Join(root, f[0])), -1)
		if strconv.Itoa(len(ids)) != f[1] || hashIDs(ids) != f[2] {
			t.Errorf("%s: %d ids with hash %s, want %s with %s", f[0], len(ids), hashIDs(ids), f[1], f[2])
		}
	}
}

// brownSentence returns the words of the first line with at least 4, without their tags.
func brownSentence(t *testing.T, path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		for i, w := range words {
			words[i] = w[:strings.LastIndexByte(w, '/')]
		}
		if len(words) >= 4 {
			return strings.Join(words, " ")
		}
	}
	t.Fatalf("%s: no sentence of 4 words", path)
	return ""
}
