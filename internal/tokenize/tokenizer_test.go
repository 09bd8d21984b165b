package tokenize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const small = `{"added_tokens":[],"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"lowercase":true},
"pre_tokenizer":{"type":"BertPreTokenizer"},"model":{"type":"WordPiece","unk_token":"[UNK]","vocab":{"[UNK]":0,"a":1,"##b":2}}}`

func TestLoadRefuses(t *testing.T) {
	if _, err := Load(strings.NewReader(small)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{small, "", "not a tokenizer.json"},
		{small, "[]", "not a tokenizer.json"},
		{`"WordPiece"`, `"BPE"`, `type "BPE" is not supported`},
		{`"unk_token":"[UNK]"`, `"unk_token":"<unk>"`, `unk_token "<unk>" is not in the vocabulary`},
		{`"a":1`, `"a":-1`, `vocabulary "a": id -1 is outside`},
		{`"a":1`, `"a":4294967295`, `id 4294967295 is outside`},
		{`"a":1`, `"a":2`, `"##b" and "a" share the id 2`},
		{`"a":1`, `"a":1.5`, "1.5"},
		{`{"[UNK]":0,"a":1,"##b":2}`, `{}`, "vocabulary is empty"},
		{`"type":"BertNormalizer"`, `"type":"NFKC"`, `normalizer: type "NFKC"`},
		{`"BertPreTokenizer"`, `"ByteLevel"`, `pre_tokenizer: type "ByteLevel"`},
		{`{"type":"BertPreTokenizer"}`, `null`, `pre_tokenizer: type null`},
		{`"added_tokens":[]`, `"post_processor":{"type":"RobertaProcessing"}`, `type "RobertaProcessing"`},
		{`"added_tokens":[]`, `"post_processor":{"type":"TemplateProcessing","single":[]}`, "0 texts"},
		{`"added_tokens":[]`, `"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"X"}}]}`, `"X" of the template is not defined`},
		{`"added_tokens":[]`, `"post_processor":{"type":"BertProcessing","sep":["x",0.5],"cls":["x",1]}`, "sep is [x 0.5]"},
		{`"added_tokens":[]`, `"truncation":{"max_length":99999999999}`, "max_length 99999999999 is outside"},
		{`"added_tokens":[]`, `"truncation":{"max_length":1,"strategy":"OnlySecond"}`, "OnlySecond"},
		{`"added_tokens":[]`, `"padding":{"strategy":{"Fixed":99999999999}}`, "fixed length 99999999999"},
		{`"added_tokens":[]`, `"padding":{"pad_id":-2}`, "pad_id: id -2"},
		{`"added_tokens":[]`, `"padding":{"pad_to_multiple_of":1000000}`, "pad_to_multiple_of 1000000"},
		{`"unk_token"`, `"max_input_chars_per_word":-1,"unk_token"`, "max_input_chars_per_word -1"},
	} {
		_, err := Load(strings.NewReader(strings.Replace(small, c.old, c.new, 1)))
		if err == nil || !strings.HasPrefix(err.Error(), "tokenize: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %.60s: error %v, want one with %q", c.new, err, c.want)
		}
	}
}

func TestEncodeLength(t *testing.T) {
	tok := miniLM(t)
	text := strings.Repeat("hello world ", 200)
	for _, c := range [][2]int{{-1, 402}, {0, 128}, {128, 128}, {7, 7}, {2, 2}, {1, 2}} {
		ids, types, mask := tok.Encode(text, c[0])
		if len(ids) != c[1] || len(types) != c[1] || len(mask) != c[1] || ids[0] != 101 || ids[c[1]-1] != 102 {
			t.Errorf("Encode(_, %d): %d ids from %d to %d, want %d from 101 to 102", c[0], len(ids), ids[0], ids[len(ids)-1], c[1])
		}
	}
	b := tok.EncodeBatch([]string{"hello", "hello world again", ""}, 16, false)
	if b.Rows != 3 || b.Cols != 5 || !slices.Equal(b.IDs, []int64{101, 7592, 102, 0, 0, 101, 7592, 2088, 2153, 102, 101, 102, 0, 0, 0}) ||
		!slices.Equal(b.Mask, []int64{1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0}) {
		t.Errorf("EncodeBatch: %+v", b)
	}
	if b := tok.EncodeBatch([]string{"hello"}, 16, true); b.Cols != 16 || len(b.IDs) != 16 {
		t.Errorf("EncodeBatch, fixed: %d columns, want 16", b.Cols)
	}
	if b := tok.EncodeBatch(nil, 16, false); b.Rows != 0 || len(b.IDs) != 0 {
		t.Errorf("EncodeBatch of nothing: %+v", b)
	}
	if id, ok := tok.ID("world"); !ok || id != 2088 || tok.VocabSize() != 30522 || tok.PadID() != 0 || tok.UnknownID() != 100 || tok.MaxLength() != 128 {
		t.Errorf("ID(world) = %d, VocabSize %d, PadID %d, UnknownID %d, MaxLength %d", id, tok.VocabSize(), tok.PadID(), tok.UnknownID(), tok.MaxLength())
	}
	if ids, _, _ := tok.Encode("a\xffb", -1); len(ids) != 3 { // U+FFFD is dropped, so the word is "ab"
		t.Errorf("invalid UTF-8: %v", ids)
	}
}

func TestWordLevel(t *testing.T) {
	texts := []string{"To be, or not to be: <email> <num>", "Be QUICK <num>, be <num>!", "<br> 東京 Ünïcode \"q\" a<b"}
	tok, err := BuildWordLevel(slices.Values(texts), 12)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for id := range int64(tok.VocabSize()) {
		w, _ := tok.Token(id)
		words = append(words, w)
	}
	want := []string{"[PAD]", "[UNK]", "be", "<num>", `"`, ",", "to", "!", ":", "<", "<br>", "<email>"}
	if !slices.Equal(words, want) {
		t.Errorf("vocabulary %q, want %q", words, want)
	}
	if tok.PadID() != 0 || tok.UnknownID() != 1 || tok.Kind() != "WordLevel" {
		t.Errorf("pad %d, unknown %d, kind %s", tok.PadID(), tok.UnknownID(), tok.Kind())
	}
	ids, _, _ := tok.Encode("BE, <num>\t<email>x <url>", 0)
	if want := []int64{2, 5, 3, 11, 1, 9, 1, 1}; !slices.Equal(ids, want) {
		t.Errorf("ids %v, want %v", ids, want)
	}
	raw, err := json.Marshal(tok)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append(texts, "anything <num> else") {
		a, _, _ := tok.Encode(text, 0)
		b, _, _ := again.Encode(text, 0)
		if !slices.Equal(a, b) {
			t.Errorf("%q: %v before and %v after writing", text, a, b)
		}
	}
	rawAgain, _ := json.Marshal(again)
	if !bytes.Equal(raw, rawAgain) {
		t.Error("the JSON changes when it is read and written")
	}
	slices.Reverse(texts)
	same, _ := BuildWordLevel(slices.Values(texts), 12)
	if rawSame, _ := json.Marshal(same); !bytes.Equal(raw, rawSame) {
		t.Error("the vocabulary depends on the order of the texts")
	}
	for _, c := range []struct {
		text string
		n    int
	}{{"", 10}, {"a", 2}, {" \t", 10}, {"a", maxID + 2}} {
		if _, err := BuildWordLevel(slices.Values([]string{c.text}), c.n); err == nil {
			t.Errorf("BuildWordLevel(%q, %d): no error", c.text, c.n)
		}
	}
}

func ExampleTokenizer_Encode() {
	tok, err := BuildWordLevel(slices.Values([]string{"free money", "free lunch at <num>"}), 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	ids, _, mask := tok.Encode("Free LUNCH today!", 0)
	fmt.Println(ids, mask)
	// Output: [2 5 1 1] [1 1 1 1]
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(small), "ab")
	for line := range bytes.Lines(unzstd(f, "tokenize", "options.jsonl.zst")) {
		var c struct{ Tokenizer json.RawMessage }
		if err := json.Unmarshal(line, &c); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(c.Tokenizer), "new york <email> unaffable [MASK]")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		if len(data)+len(text) > 64<<10 {
			t.Skip()
		}
		tok, err := Load(bytes.NewReader(data))
		if err != nil {
			return
		}
		ids, types, mask := tok.Encode(text, 0)
		if len(ids) != len(types) || len(ids) != len(mask) {
			t.Fatalf("%d ids, %d types, %d mask", len(ids), len(types), len(mask))
		}
		for _, id := range ids {
			if id < 0 || id >= int64(tok.VocabSize()) {
				if _, ok := tok.Token(id); ok {
					t.Fatalf("id %d is outside the vocabulary of %d", id, tok.VocabSize())
				}
			}
		}
		tok.EncodeBatch([]string{text, "a"}, 10, false)
	})
}

func FuzzEncode(f *testing.F) {
	tok := miniLM(f)
	f.Add("héllo wörld 東京 👩‍👩‍👧 [MASK] \x00\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 64<<10 {
			t.Skip()
		}
		ids, _, _ := tok.Encode(text, 64)
		if len(ids) < 2 || len(ids) > 64 || slices.Max(ids) >= 30522 || slices.Min(ids) < 0 {
			t.Fatalf("ids %v", ids)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok := miniLM(b)
	text := strings.Repeat("The quick brown fox jumps over the lazy dog, naïvely tokenized. ", 16)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tok.Encode(text, -1)
	}
}
