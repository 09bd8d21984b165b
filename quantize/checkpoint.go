package quantize

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// checkpoints are the finished weights of a job in a folder, a file each. The zero value, and nil, keep none.
type checkpoints struct {
	dir string
	key [sha256.Size]byte // of model, settings and feeds
}

// checkpoint is what a file holds behind the sha256 of the rest.
type checkpoint struct {
	Key     [sha256.Size]byte
	Why     string // it is left: why
	Forms   []checkpointForm
	Grouped bool      // AWQ chose factors for the inputs
	Factors []float32 // nil where all are 1
}

// checkpointForm is a form of a weight: codes, scales, zero points, which for HQQ are no integers.
type checkpointForm struct {
	Codes     []byte
	Scales    []float32
	Zeros     []byte
	Exact     []float32
	Symmetric bool // the zero points are not written
	Kept      int  // outputs that are rounded to nearest
	Remark    string
}

// checkpoints opens the folder of the settings. Rounding to nearest is done sooner than it is read.
func (p *weightOnlyPlan) checkpoints(g *model.Graph) (*checkpoints, error) {
	if p.Checkpoints == "" || p.Algorithm == RTN {
		return nil, nil
	}
	if err := os.MkdirAll(p.Checkpoints, 0o755); err != nil {
		return nil, fmt.Errorf("quantize: checkpoints: %w", err)
	}
	h, data := sha256.New(), sha256.New()
	fmt.Fprintln(h, p.Bits, p.Group, p.Symmetric, p.Algorithm, p.Format, p.Ops, p.Exclude)
	if err := onnx.Write(h, g, onnx.WriteOptions{External: true, Data: data, Location: "data"}); err != nil {
		return nil, fmt.Errorf("quantize: checkpoints: %w", err)
	}
	h.Write(data.Sum(nil))
	if p.NeedsFeeds() {
		for feed, err := range p.Feeds.All() {
			if err != nil {
				return nil, fmt.Errorf("quantize: inputs of %s: %w", p.Algorithm, err)
			}
			for _, name := range slices.Sorted(maps.Keys(feed)) {
				raw, err := feed[name].Bytes()
				if err != nil {
					return nil, fmt.Errorf("quantize: input %q of %s: %w", name, p.Algorithm, err)
				}
				fmt.Fprintln(h, name, feed[name].DType(), feed[name].Shape())
				h.Write(raw)
			}
		}
	}
	return &checkpoints{p.Checkpoints, [sha256.Size]byte(h.Sum(nil))}, nil
}

func (c *checkpoints) path(i int) string { return filepath.Join(c.dir, fmt.Sprintf("weight-%05d", i)) }

// save writes weight i of the plan, whole or not at all.
func (c *checkpoints) save(p *weightOnlyPlan, i int) error {
	w := p.weights[i]
	if c == nil {
		for _, s := range w.forms {
			s.made = nil
		}
		return nil
	}
	r := checkpoint{Key: c.key, Why: w.why}
	r.Factors, r.Grouped = p.factors[w.Weight]
	for _, s := range w.forms {
		if w.why != "" || s.rows8 != nil { // a table for QDQ is rounded to nearest
			continue
		}
		r.Forms = append(r.Forms, checkpointForm{s.made.q, s.made.s, s.made.z, s.made.zf, s.made.symmetric, s.kept, s.remark})
		s.made = nil
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(r); err != nil {
		return err
	}
	sum := sha256.Sum256(b.Bytes())
	name := c.path(i)
	if err := os.WriteFile(name+".partial", append(sum[:], b.Bytes()...), 0o666); err != nil {
		return errors.Join(err, os.Remove(name+".partial"))
	}
	return os.Rename(name+".partial", name)
}

// load reports whether weight i of the plan is finished, and makes it what the file says. A file that is damaged, or of
// another job, counts as none.
func (c *checkpoints) load(p *weightOnlyPlan, i int) bool {
	if c == nil {
		return false
	}
	b, err := os.ReadFile(c.path(i))
	if err != nil || len(b) < sha256.Size || sha256.Sum256(b[sha256.Size:]) != [sha256.Size]byte(b) {
		return false
	}
	var r checkpoint
	if err := gob.NewDecoder(bytes.NewReader(b[sha256.Size:])).Decode(&r); err != nil || r.Key != c.key {
		return false
	}
	w := p.weights[i]
	if slices.ContainsFunc(w.forms, func(s *stored) bool { return s.rows8 != nil }) || r.Why == "" && len(r.Forms) != len(w.forms) {
		return false
	}
	if _, shared := p.factors[w.Weight]; r.Grouped && !shared {
		group := p.awqGroup(w)
		if group == nil || r.Factors != nil && len(r.Factors) != w.forms[0].nbits.k {
			return false
		}
		p.share(group, r.Factors)
	}
	if r.Why != "" {
		w.why = r.Why
		return true
	}
	for f, s := range w.forms {
		from := r.Forms[f]
		m := s.newBlocks()
		if len(from.Codes) != len(m.q) || len(from.Scales) != len(m.s) || len(from.Zeros) != len(m.z) || from.Exact != nil && len(from.Exact) != len(m.s) {
			return false
		}
		m.q, m.s, m.z, m.zf, m.symmetric, s.kept, s.remark = from.Codes, from.Scales, from.Zeros, from.Exact, from.Symmetric, from.Kept, from.Remark
		if p.put(s, m) != nil {
			return false
		}
	}
	return true
}
