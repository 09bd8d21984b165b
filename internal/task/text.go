package task

import (
	"fmt"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Encoder turns a text into token ids, type ids and the attention mask, at most maxLen of them.
type Encoder interface {
	Encode(text string, maxLen int) (ids, typeIDs, mask []int64)
}

// Text makes the inputs of a model from texts: ids, attention mask and type ids of [batch, length], where
// length is that of the longest text of the batch, or Fixed.
type Text struct {
	Name      string
	Texts     []string
	Encoder   Encoder
	MaxLength int
	Fixed     int   // pad and cut to this length; 0 = the longest of the batch
	Pad       int64 // id of padding
	Empty     int64 // id that stands for a text without tokens, since some runtimes refuse empty sequences

	names  [3]string // inputs for ids, types, mask; "" = the model has none
	dtypes [3]model.DType
}

var _ Inputs = (*Text)(nil)

// Bind finds which inputs of the model take ids, type ids and the mask: by "type" or "segment", "mask", and "ids", "tokens"
// or the whole name "input" in their names. An input that is none of these, or a second one of a kind, is an error naming
// it. A length that the model declares becomes Fixed.
func (t *Text) Bind(inputs []*model.Value) error {
	for _, v := range inputs {
		slot := -1
		switch name := strings.ToLower(v.Name); {
		case strings.Contains(name, "type") || strings.Contains(name, "segment"):
			slot = 1
		case strings.Contains(name, "mask"):
			slot = 2
		case strings.Contains(name, "ids") || strings.Contains(name, "tokens") || name == "input":
			slot = 0
		}
		if slot < 0 || t.names[slot] != "" {
			return fmt.Errorf("task: model input %q %s is no place for token ids, type ids or a mask", v.Name, v.Type.Shape)
		}
		if dt := v.Type.DType; dt != model.Int64 && dt != model.Int32 && dt != model.Invalid {
			return fmt.Errorf("task: model input %q is %s, token ids are integers", v.Name, dt)
		}
		t.names[slot], t.dtypes[slot] = v.Name, v.Type.DType
		if s := v.Type.Shape; len(s) == 2 && s[1].Known() {
			if t.Fixed > 0 && int64(t.Fixed) != s[1].Size {
				return fmt.Errorf("task: model input %q %s does not take sequences of %d", v.Name, s, t.Fixed)
			}
			t.Fixed = int(s[1].Size)
		}
	}
	if t.names[0] == "" {
		return fmt.Errorf("task: the model has no input for token ids")
	}
	return nil
}

// Len returns the number of texts.
func (t *Text) Len() int { return len(t.Texts) }

// Describe names the data and their number.
func (t *Text) Describe() string { return fmt.Sprintf("%d texts of %s", len(t.Texts), t.Name) }

// Feed encodes the texts from to to-1.
func (t *Text) Feed(from, to int) (engine.Feed, *model.Tensor, error) {
	limit := t.MaxLength
	if t.Fixed > 0 && (limit == 0 || t.Fixed < limit) {
		limit = t.Fixed
	}
	n := to - from
	var rows [3][][]int64
	length := max(t.Fixed, 1)
	for i := from; i < to; i++ {
		ids, types, mask := t.Encoder.Encode(t.Texts[i], limit)
		if len(ids) == 0 {
			ids, types, mask = []int64{t.Empty}, []int64{0}, []int64{1}
		}
		rows[0], rows[1], rows[2] = append(rows[0], ids), append(rows[1], types), append(rows[2], mask)
		length = max(length, len(ids))
	}
	feed := engine.Feed{}
	var mask *model.Tensor
	for k, name := range t.names {
		flat := make([]int64, n*length)
		for i, row := range rows[k] {
			copy(flat[i*length:], row)
			if k == 0 {
				for j := len(row); j < length; j++ {
					flat[i*length+j] = t.Pad
				}
			}
		}
		x := model.FromSlice([]int{n, length}, flat)
		if k == 2 {
			mask = x
		}
		if name != "" && t.dtypes[k] == model.Int32 {
			narrow := make([]int32, len(flat))
			for i, v := range flat {
				narrow[i] = int32(v)
			}
			feed[name] = model.FromSlice([]int{n, length}, narrow)
		} else if name != "" {
			feed[name] = x
		}
	}
	return feed, mask, nil
}
