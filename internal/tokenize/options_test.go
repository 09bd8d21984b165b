package tokenize

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
)

// TestReferenceOptions compares small tokenizers, which among them use every option that is supported, with the
// reference: batches of four texts, truncated and padded as each file says.
func TestReferenceOptions(t *testing.T) {
	configs := 0
	for line := range bytes.Lines(unzstd(t, "tokenize", "options.jsonl.zst")) {
		configs++
		var c struct {
			Tokenizer json.RawMessage
			Texts     []string
			Batches   [][][3][]int64
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		tok, err := Load(bytes.NewReader(c.Tokenizer))
		if err != nil {
			t.Fatalf("tokenizer %d: %v", configs, err)
		}
		for i, rows := range c.Batches {
			texts := c.Texts[i*4 : i*4+4]
			b := tok.EncodeBatch(texts, 0, tok.padLength > 0)
			for j, want := range rows {
				n := len(want[0])
				if n == 0 { // an empty row without padding: EncodeBatch has a column of padding for it
					if slices.Max(b.Mask[j*b.Cols:(j+1)*b.Cols]) != 0 {
						t.Errorf("tokenizer %d, %q: got ids, want none", configs, texts[j])
					}
					continue
				}
				at := j * b.Cols
				same := bytes.Contains(c.Tokenizer, []byte(`"padding":null`)) || n == b.Cols
				same = same && n <= b.Cols && slices.Equal(b.IDs[at:at+n], want[0]) &&
					slices.Equal(b.TypeIDs[at:at+n], want[1]) && slices.Equal(b.Mask[at:at+n], want[2])
				if !same {
					t.Errorf("tokenizer %d, %q:\n got %v %v %v\nwant %v %v %v", configs, texts[j], b.IDs[at:at+b.Cols], b.TypeIDs[at:at+b.Cols], b.Mask[at:at+b.Cols], want[0], want[1], want[2])
				}
			}
		}
	}
	if configs != 10 {
		t.Errorf("%d tokenizers, want 10", configs)
	}
}
