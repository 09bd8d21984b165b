package model

// Note says what a stage did to one weight, or why it left the weight as it was.
type Note struct {
	Weight      string   `json:"weight"`           // the weight's name
	Reader      string   `json:"reader,omitempty"` // see Weight.Reader
	Ops         []string `json:"ops,omitempty"`    // operators that read it
	Action      string   `json:"action"`           // such as "int8 per-channel", "pruned 2:4", or Left
	Reason      string   `json:"reason,omitempty"` // why it was left, or a remark
	BytesBefore int64    `json:"bytes_before"`
	BytesAfter  int64    `json:"bytes_after"`
}

// Left is the Action of a weight that a stage did not touch.
const Left = "left"

// Touched returns the bytes, before the stage, of the weights that were changed, and of all of them.
func Touched(notes []Note) (changed, all int64) {
	for _, n := range notes {
		all += n.BytesBefore
		if n.Action != Left {
			changed += n.BytesBefore
		}
	}
	return changed, all
}
