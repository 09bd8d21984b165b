package tokenize

import (
	"encoding/json"
	"fmt"
	"io"
)

const (
	// maxBytes bounds the size of a tokenizer.json.
	maxBytes = 64 << 20
	// maxID bounds the ids of a vocabulary: a larger embedding table than any model has.
	maxID = 1<<24 - 1
	// maxLengthLimit bounds the truncation and padding lengths of a file, and maxMultiple its padding granularity: rows
	// of that length are allocated on the word of the file alone.
	maxLengthLimit = 1 << 20
	maxMultiple    = 1 << 12
	// maxTemplate bounds the number of tokens around a text.
	maxTemplate = 64
)

// file is the part of tokenizer.json that is read.
type file struct {
	Truncation *struct {
		Direction string `json:"direction"`
		MaxLength int64  `json:"max_length"`
		Strategy  string `json:"strategy"`
	} `json:"truncation"`
	Padding *struct {
		Strategy  json.RawMessage `json:"strategy"`
		Direction string          `json:"direction"`
		Multiple  int64           `json:"pad_to_multiple_of"`
		ID        int64           `json:"pad_id"`
		TypeID    int64           `json:"pad_type_id"`
	} `json:"padding"`
	AddedTokens []struct {
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
	} `json:"added_tokens"`
	Normalizer    *normalizerSpec `json:"normalizer"`
	PreTokenizer  *typed          `json:"pre_tokenizer"`
	PostProcessor *postProcessor  `json:"post_processor"`
	Model         struct {
		Type     string           `json:"type"`
		UnkToken string           `json:"unk_token"`
		Prefix   *string          `json:"continuing_subword_prefix"`
		MaxChars *int64           `json:"max_input_chars_per_word"`
		Vocab    map[string]int64 `json:"vocab"`
	} `json:"model"`
}

type typed struct {
	Type string `json:"type"`
}

type normalizerSpec struct {
	Type               string `json:"type"`
	CleanText          bool   `json:"clean_text"`
	HandleChineseChars bool   `json:"handle_chinese_chars"`
	StripAccents       *bool  `json:"strip_accents"`
	Lowercase          bool   `json:"lowercase"`
}

type postProcessor struct {
	Type   string `json:"type"`
	Single []struct {
		SpecialToken *struct {
			ID     string `json:"id"`
			TypeID int64  `json:"type_id"`
		} `json:"SpecialToken"`
		Sequence *struct {
			ID     string `json:"id"`
			TypeID int64  `json:"type_id"`
		} `json:"Sequence"`
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int64 `json:"ids"`
	} `json:"special_tokens"`
	Sep [2]any `json:"sep"`
	Cls [2]any `json:"cls"`
}

// Load reads a tokenizer.json of at most 64 MiB. It refuses models, normalizers, pre-tokenizers and post-processors
// other than those in the package comment, an unknown token that is not in the vocabulary, and ids above 2^24.
func Load(r io.Reader) (*Tokenizer, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("tokenize: %w", err)
	}
	if len(raw) > maxBytes {
		return nil, fmt.Errorf("tokenize: file is larger than %d bytes", maxBytes)
	}
	return parse(raw)
}

func parse(raw []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("tokenize: not a tokenizer.json: %w", err)
	}
	t := &Tokenizer{raw: raw, kind: f.Model.Type, maxChars: 100, prefix: "##"}
	for _, step := range []func(*file) error{t.setVocab, t.setNormalizer, t.setAdded, t.setTemplate, t.setLengths} {
		if err := step(&f); err != nil {
			return nil, fmt.Errorf("tokenize: %w", err)
		}
	}
	return t, nil
}

func checkID(what string, id int64) error {
	if id < 0 || id > maxID {
		return fmt.Errorf("%s: id %d is outside 0 to %d", what, id, maxID)
	}
	return nil
}

func (t *Tokenizer) setVocab(f *file) error {
	m := f.Model
	switch m.Type {
	case "WordPiece":
		if m.Prefix != nil {
			t.prefix = *m.Prefix
		}
		if m.MaxChars != nil {
			if *m.MaxChars < 0 || *m.MaxChars > maxLengthLimit {
				return fmt.Errorf("model: max_input_chars_per_word %d is outside 0 to %d", *m.MaxChars, maxLengthLimit)
			}
			t.maxChars = int(*m.MaxChars)
		}
	case "WordLevel":
	default:
		return fmt.Errorf("model: type %q is not supported: want WordPiece or WordLevel", m.Type)
	}
	if len(m.Vocab) == 0 {
		return fmt.Errorf("model: the vocabulary is empty")
	}
	t.vocab = m.Vocab
	t.words = make(map[int64]string, len(m.Vocab))
	for word, id := range m.Vocab {
		if err := checkID(fmt.Sprintf("vocabulary %q", word), id); err != nil {
			return err
		}
		if other, ok := t.words[id]; ok {
			return fmt.Errorf("vocabulary: %q and %q share the id %d", min(word, other), max(word, other), id)
		}
		t.words[id] = word
		t.size = max(t.size, int(id)+1)
		t.longest = max(t.longest, len(word))
	}
	var ok bool
	if t.unk, ok = t.vocab[m.UnkToken]; !ok {
		return fmt.Errorf("model: unk_token %q is not in the vocabulary", m.UnkToken)
	}
	return nil
}

func (t *Tokenizer) setNormalizer(f *file) error {
	if n := f.Normalizer; n != nil {
		b := bertNormalizer{lowercase: true}
		switch n.Type {
		case "BertNormalizer":
			b = bertNormalizer{cleanText: n.CleanText, chineseChars: n.HandleChineseChars, stripAccents: n.Lowercase, lowercase: n.Lowercase}
			if n.StripAccents != nil {
				b.stripAccents = *n.StripAccents
			}
		case "Lowercase":
		default:
			return fmt.Errorf("normalizer: type %q is not supported: want BertNormalizer or Lowercase", n.Type)
		}
		t.normalizer = &b
	}
	if f.PreTokenizer == nil || f.PreTokenizer.Type != "BertPreTokenizer" {
		kind := "null"
		if f.PreTokenizer != nil {
			kind = fmt.Sprintf("%q", f.PreTokenizer.Type)
		}
		return fmt.Errorf("pre_tokenizer: type %s is not supported: want BertPreTokenizer", kind)
	}
	return nil
}

// setAdded gives an added token the id that its content has in the vocabulary or, as the reference does whatever the
// file says, the next free one.
func (t *Tokenizer) setAdded(f *file) error {
	t.addedIDs = map[string]int64{}
	next := int64(len(t.vocab))
	for _, a := range f.AddedTokens {
		id, known := t.ID(a.Content)
		if !known {
			id = next
		}
		if err := checkID(fmt.Sprintf("added token %q", a.Content), id); err != nil {
			return err
		}
		next = max(next, id+1)
		t.addedIDs[a.Content] = id
		t.words[id] = a.Content
		t.size = max(t.size, int(id)+1)
		token := addedToken{content: a.Content, id: id, singleWord: a.SingleWord, lstrip: a.LStrip, rstrip: a.RStrip}
		if !a.Normalized {
			t.added.add(token)
			continue
		}
		if t.normalizer != nil {
			token.content = t.normalizer.normalize(a.Content)
		}
		t.addedNorm.add(token)
	}
	return nil
}

func (t *Tokenizer) setTemplate(f *file) error {
	body := piece{id: -1}
	p := f.PostProcessor
	if p == nil {
		t.template = []piece{body}
		return nil
	}
	switch p.Type {
	case "BertProcessing":
		cls, err := bertToken("cls", p.Cls)
		if err != nil {
			return err
		}
		sep, err := bertToken("sep", p.Sep)
		if err != nil {
			return err
		}
		t.template = []piece{{id: cls}, body, {id: sep}}
		return nil
	case "TemplateProcessing":
	default:
		return fmt.Errorf("post_processor: type %q is not supported: want TemplateProcessing or BertProcessing", p.Type)
	}
	texts := 0
	for _, s := range p.Single {
		switch {
		case s.Sequence != nil:
			texts++
			t.template = append(t.template, piece{id: -1, typeID: s.Sequence.TypeID})
		case s.SpecialToken != nil:
			special, ok := p.SpecialTokens[s.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("post_processor: special token %q of the template is not defined", s.SpecialToken.ID)
			}
			for _, id := range special.IDs {
				if err := checkID(fmt.Sprintf("special token %q", s.SpecialToken.ID), id); err != nil {
					return err
				}
				t.template = append(t.template, piece{id: id, typeID: s.SpecialToken.TypeID})
			}
		}
	}
	if texts != 1 || len(t.template) > maxTemplate {
		return fmt.Errorf("post_processor: the template holds %d texts and %d tokens, want 1 and at most %d", texts, len(t.template)-texts, maxTemplate-1)
	}
	return nil
}

// bertToken reads a pair ["[SEP]", 102].
func bertToken(name string, pair [2]any) (int64, error) {
	id, ok := pair[1].(float64)
	if !ok || id != float64(int64(id)) {
		return 0, fmt.Errorf("post_processor: %s is %v, want a token and its id", name, pair)
	}
	return int64(id), checkID("post_processor: "+name, int64(id))
}

func (t *Tokenizer) setLengths(f *file) error {
	if tr := f.Truncation; tr != nil {
		if tr.MaxLength < 0 || tr.MaxLength > maxLengthLimit {
			return fmt.Errorf("truncation: max_length %d is outside 0 to %d", tr.MaxLength, maxLengthLimit)
		}
		if tr.Strategy == "OnlySecond" {
			return fmt.Errorf("truncation: strategy %q is for pairs of texts only", tr.Strategy)
		}
		t.maxLength, t.leftTrunc = int(tr.MaxLength), tr.Direction == "Left"
	}
	p := f.Padding
	if p == nil {
		for _, name := range []string{"[PAD]", "<pad>"} {
			if id, ok := t.ID(name); ok {
				t.pad.id = id
				break
			}
		}
		return nil
	}
	if err := checkID("padding: pad_id", p.ID); err != nil {
		return err
	}
	if err := checkID("padding: pad_type_id", p.TypeID); err != nil {
		return err
	}
	if p.Multiple < 0 || p.Multiple > maxMultiple {
		return fmt.Errorf("padding: pad_to_multiple_of %d is outside 0 to %d", p.Multiple, maxMultiple)
	}
	t.pad = padding{id: p.ID, typeID: p.TypeID, left: p.Direction == "Left", multiple: int(p.Multiple)}
	var fixed struct{ Fixed int64 }
	if len(p.Strategy) > 0 && p.Strategy[0] == '{' {
		if err := json.Unmarshal(p.Strategy, &fixed); err != nil {
			return fmt.Errorf("padding: strategy: %w", err)
		}
	}
	if fixed.Fixed < 0 || fixed.Fixed > maxLengthLimit {
		return fmt.Errorf("padding: fixed length %d is outside 0 to %d", fixed.Fixed, maxLengthLimit)
	}
	t.padLength = int(fixed.Fixed)
	return nil
}
