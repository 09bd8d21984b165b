// Package tokenize turns text into token ids, as the tokenizer.json of a model says: ids equal those of the reference
// implementation (the Hugging Face tokenizers library, version 0.23).
//
// Supported are the models WordPiece (BERT and its relatives) and WordLevel (one id per word), with the BERT
// normalizer and pre-tokenizer, added tokens, truncation, and the post-processors TemplateProcessing and
// BertProcessing for single sequences. Anything else in a tokenizer.json is an error that names it.
package tokenize

import (
	"fmt"
	"unicode/utf8"
)

// Tokenizer turns text into ids. It is immutable and safe for concurrent use.
type Tokenizer struct {
	raw        []byte // the JSON that it was loaded from
	kind       string // "WordPiece" or "WordLevel"
	vocab      map[string]int64
	words      map[int64]string
	addedIDs   map[string]int64
	size       int
	unk        int64
	prefix     string
	maxChars   int
	longest    int // bytes of the longest word of the vocabulary
	normalizer *bertNormalizer
	added      addedTokens // found in the text as it is
	addedNorm  addedTokens // found in the normalised text
	template   []piece
	maxLength  int // truncation of the file, 0 for none
	leftTrunc  bool
	padLength  int // padding of the file: a fixed length, 0 for the longest of the batch
	pad        padding
}

// piece is one element of the post-processing template: a special token, or the text where id is -1.
type piece struct {
	id     int64
	typeID int64
}

// padding says what fills the end (or the start) of a row.
type padding struct {
	id, typeID int64
	left       bool
	multiple   int
}

// Encode returns the ids of text with the special tokens of the template around them, the type (segment) id of each,
// and a mask of ones: three slices of equal length, nothing padded. maxLen > 0 bounds the length, special tokens
// included; 0 takes the bound of the file, if it has one; a negative maxLen sets no bound. Where the special tokens
// alone are as many as the bound or more, they are all that is returned (the reference then gives up truncating).
func (t *Tokenizer) Encode(text string, maxLen int) (ids, typeIDs, mask []int64) {
	body := t.body(text)
	if maxLen == 0 {
		maxLen = t.maxLength
	}
	extra := len(t.template) - 1
	if maxLen > 0 && len(body) > max(0, maxLen-extra) {
		if keep := max(0, maxLen-extra); t.leftTrunc {
			body = body[len(body)-keep:]
		} else {
			body = body[:keep]
		}
	}
	n := len(body) + extra
	ids, typeIDs, mask = make([]int64, 0, n), make([]int64, 0, n), make([]int64, n)
	for _, p := range t.template {
		if p.id >= 0 {
			ids, typeIDs = append(ids, p.id), append(typeIDs, p.typeID)
			continue
		}
		ids = append(ids, body...)
		for range body {
			typeIDs = append(typeIDs, p.typeID)
		}
	}
	for i := range mask {
		mask[i] = 1
	}
	return ids, typeIDs, mask
}

// Batch holds encoded texts as three row-major matrices of Rows x Cols: what a model takes as input_ids,
// token_type_ids and attention_mask (0 where a row is padded).
type Batch struct {
	Rows, Cols         int
	IDs, TypeIDs, Mask []int64
}

// EncodeBatch encodes texts as Encode does and pads every row with the padding of the file: to the longest row, or,
// where fixed is set, to maxLen or the fixed padding length of the file. A batch without texts has no rows; rows of no tokens are padded to one
// column, so that a model never sees an empty axis.
func (t *Tokenizer) EncodeBatch(texts []string, maxLen int, fixed bool) Batch {
	b := Batch{Rows: len(texts)}
	type row struct{ ids, types []int64 }
	rows := make([]row, len(texts))
	for i, text := range texts {
		rows[i].ids, rows[i].types, _ = t.Encode(text, maxLen)
		b.Cols = max(b.Cols, len(rows[i].ids))
	}
	if fixed {
		length := t.padLength
		if maxLen > 0 {
			length = maxLen
		}
		b.Cols = max(b.Cols, length)
	}
	if m := t.pad.multiple; m > 1 {
		b.Cols = (b.Cols + m - 1) / m * m
	}
	b.Cols = max(b.Cols, 1)
	n := b.Rows * b.Cols
	b.IDs, b.TypeIDs, b.Mask = make([]int64, n), make([]int64, n), make([]int64, n)
	for i, r := range rows {
		at := i * b.Cols
		for j := range b.Cols {
			b.IDs[at+j], b.TypeIDs[at+j] = t.pad.id, t.pad.typeID
		}
		if t.pad.left {
			at += b.Cols - len(r.ids)
		}
		copy(b.IDs[at:], r.ids)
		copy(b.TypeIDs[at:], r.types)
		for j := range r.ids {
			b.Mask[at+j] = 1
		}
	}
	return b
}

// body returns the ids of text alone.
func (t *Tokenizer) body(text string) []int64 {
	var ids []int64
	add := func(id int64) { ids = append(ids, id) }
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	t.added.split(text, func(s string) {
		if t.normalizer != nil {
			s = t.normalizer.normalize(s)
		}
		t.addedNorm.split(s, func(s string) {
			splitWords(s, func(word string) { ids = t.appendWord(ids, word) })
		}, add)
	}, add)
	return ids
}

// appendWord appends the ids of one word.
func (t *Tokenizer) appendWord(ids []int64, word string) []int64 {
	if t.kind == "WordLevel" {
		id, ok := t.vocab[word]
		if !ok {
			id = t.unk
		}
		return append(ids, id)
	}
	if len(word) > t.maxChars && utf8.RuneCountInString(word) > t.maxChars {
		return append(ids, t.unk)
	}
	start := len(ids)
	for at := 0; at < len(word); {
		id, n := t.longestPiece(word[at:], at > 0)
		if n == 0 {
			return append(ids[:start], t.unk)
		}
		ids = append(ids, id)
		at += n
	}
	return ids
}

// longestPiece returns the id and the length in bytes of the longest vocabulary word at the start of s, looked up with
// the continuing prefix inside a word; length 0 where there is none.
func (t *Tokenizer) longestPiece(s string, inside bool) (int64, int) {
	var buf [256]byte
	key := buf[:0]
	if inside {
		key = append(key, t.prefix...)
	}
	lead := len(key)
	n := min(len(s), t.longest)
	key = append(key, s[:n]...)
	for ; n > 0; n-- {
		if n < len(s) && !utf8.RuneStart(s[n]) {
			continue
		}
		if id, ok := t.vocab[string(key[:lead+n])]; ok {
			return id, n
		}
	}
	return 0, 0
}

// VocabSize is one more than the largest id, added tokens included: the number of rows of an embedding table.
func (t *Tokenizer) VocabSize() int { return t.size }

// ID returns the id of a token of the vocabulary or of an added token.
func (t *Tokenizer) ID(token string) (int64, bool) {
	if id, ok := t.addedIDs[token]; ok {
		return id, true
	}
	id, ok := t.vocab[token]
	return id, ok
}

// Token returns the token with an id.
func (t *Tokenizer) Token(id int64) (string, bool) {
	s, ok := t.words[id]
	return s, ok
}

// PadID is the id that EncodeBatch fills rows with.
func (t *Tokenizer) PadID() int64 { return t.pad.id }

// UnknownID is the id of words that are not in the vocabulary.
func (t *Tokenizer) UnknownID() int64 { return t.unk }

// MaxLength is the truncation length of the file, special tokens included; 0 where it has none.
func (t *Tokenizer) MaxLength() int { return t.maxLength }

// Kind is the model type of the file: "WordPiece" or "WordLevel".
func (t *Tokenizer) Kind() string { return t.kind }

// MarshalJSON returns the tokenizer.json that Load reads back as the same tokenizer.
func (t *Tokenizer) MarshalJSON() ([]byte, error) {
	if len(t.raw) == 0 {
		return nil, fmt.Errorf("tokenize: a Tokenizer that was not loaded has no JSON")
	}
	return append([]byte(nil), t.raw...), nil
}
