package tokenize

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"regexp"
	"slices"
)

const (
	// PadToken and UnknownToken have the ids 0 and 1 in a vocabulary made by BuildWordLevel.
	PadToken     = "[PAD]"
	UnknownToken = "[UNK]"
)

// placeholder matches the tokens that stand for something taken out of a text, such as <email> or <num>.
var placeholder = regexp.MustCompile(`<[a-z]{2,16}>`)

// BuildWordLevel makes a tokenizer with one id per word from training texts: words and punctuation as BERT splits them
// (lower case, accents removed), and placeholders such as <email>, which stay whole. Id 0 is padding, 1 any word
// outside the vocabulary; the others follow by falling count, then by bytes. At most maxVocab ids in all; it is an
// error when that is below 3 or the texts hold no word.
func BuildWordLevel(texts iter.Seq[string], maxVocab int) (*Tokenizer, error) {
	if maxVocab < 3 || maxVocab > maxID+1 {
		return nil, fmt.Errorf("tokenize: vocabulary of %d is outside 3 to %d", maxVocab, maxID+1)
	}
	normalizer := bertNormalizer{cleanText: true, chineseChars: true, stripAccents: true, lowercase: true}
	counts := map[string]int{}
	count := func(word string) { counts[word]++ }
	for text := range texts {
		done := 0
		for _, at := range placeholder.FindAllStringIndex(text, -1) {
			splitWords(normalizer.normalize(text[done:at[0]]), count)
			counts[text[at[0]:at[1]]]++
			done = at[1]
		}
		splitWords(normalizer.normalize(text[done:]), count)
	}
	delete(counts, "")
	if len(counts) == 0 {
		return nil, fmt.Errorf("tokenize: the texts hold no word")
	}
	words := make([]string, 0, len(counts))
	for word := range counts {
		words = append(words, word)
	}
	slices.SortFunc(words, func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b))
	})
	words = append([]string{PadToken, UnknownToken}, words[:min(len(words), maxVocab-2)]...)
	raw, err := wordLevelJSON(words)
	if err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	return parse(raw)
}

// wordLevelJSON writes the tokenizer.json of a vocabulary in the order of its ids.
func wordLevelJSON(words []string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`{"version":"1.0","truncation":null,"padding":null,"added_tokens":[`)
	for id, word := range words {
		special := id < 2
		if !special && placeholder.FindString(word) != word {
			continue
		}
		if id > 0 {
			b.WriteByte(',')
		}
		name, err := quote(word)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, `{"id":%d,"content":%s,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":%v}`, id, name, special)
	}
	b.WriteString(`],"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},` +
		`"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":null,"decoder":null,"model":{"type":"WordLevel","vocab":{`)
	for id, word := range words {
		if id > 0 {
			b.WriteByte(',')
		}
		name, err := quote(word)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s:%d", name, id)
	}
	b.WriteString(`},"unk_token":"` + UnknownToken + `"}}`)
	return b.Bytes(), nil
}

// quote returns word as a JSON string, with < and > as they are.
func quote(word string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(word)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
