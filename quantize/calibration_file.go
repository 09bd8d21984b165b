package quantize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// calibrationSchema names the format of a calibration file.
const calibrationSchema = "wattshed.calibration/1"

// maxCalibration bounds the bytes of a calibration file.
const maxCalibration = 64 << 20

// calibrationFile is the form of a Calibration on disk.
type calibrationFile struct {
	Schema string                `json:"schema"`
	Method Method                `json:"method"`
	Source string                `json:"source"`
	Runs   int                   `json:"runs"`
	Made   map[string]string     `json:"made,omitempty"`
	Ranges map[string][2]float32 `json:"ranges"` // lowest and highest, by value name
}

// Write writes c as JSON: the same bytes for the same ranges.
func (c *Calibration) Write(w io.Writer) error {
	f := calibrationFile{calibrationSchema, c.Method, c.Source, c.Runs, c.Made, make(map[string][2]float32, len(c.Ranges))}
	for name, r := range c.Ranges {
		f.Ranges[name] = [2]float32{r.Lo, r.Hi}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(f)
}

// ReadCalibration reads what Write wrote. It fails on more than 64 MiB, another schema and ranges that are not finite or
// whose ends are exchanged.
func ReadCalibration(r io.Reader) (*Calibration, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxCalibration+1))
	if err != nil {
		return nil, fmt.Errorf("quantize: calibration file: %w", err)
	}
	if len(b) > maxCalibration {
		return nil, fmt.Errorf("quantize: calibration file: more than %d bytes", maxCalibration)
	}
	var f calibrationFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("quantize: calibration file: %w", err)
	}
	if f.Schema != calibrationSchema {
		return nil, fmt.Errorf("quantize: calibration file: schema %.40q: want %s", f.Schema, calibrationSchema)
	}
	c := &Calibration{Method: f.Method, Source: f.Source, Runs: f.Runs, Made: f.Made, Ranges: make(map[string]Interval, len(f.Ranges))}
	for name, v := range f.Ranges {
		if v[0]-v[0] != 0 || v[1]-v[1] != 0 || v[0] > v[1] {
			return nil, fmt.Errorf("quantize: calibration file: value %.80q: %v to %v is no finite range", name, v[0], v[1])
		}
		c.Ranges[name] = Interval{v[0], v[1]}
	}
	return c, nil
}

// Origin says what ranges of the prepared graph g are made from, for Calibration.Made: sha256 of the graph and of all feeds,
// the method and its percentile, and the state that runs carry over.
func (s Static) Origin(g *model.Graph, feeds engine.Feeds) (map[string]string, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	h := sha256.New()
	if err := onnx.Write(h, g, onnx.WriteOptions{}); err != nil {
		return nil, fmt.Errorf("quantize: calibration: %w", err)
	}
	made := map[string]string{"model": hex.EncodeToString(h.Sum(nil)), "method": string(s.Method)}
	if s.Method == Percentile {
		made["percentile"] = fmt.Sprint(s.Percentile)
	}
	for in, out := range s.State {
		made["state "+in] = out
	}
	if feeds.All == nil {
		return made, nil
	}
	h.Reset()
	n := 0
	for feed, err := range feeds.All() {
		if err != nil {
			return nil, fmt.Errorf("quantize: calibration: run %d: %w", n, err)
		}
		for _, name := range slices.Sorted(maps.Keys(feed)) {
			raw, err := feed[name].Bytes()
			if err != nil {
				return nil, fmt.Errorf("quantize: calibration: input %q: %w", name, err)
			}
			fmt.Fprintf(h, "%q %s %v\n", name, feed[name].DType(), feed[name].Shape())
			h.Write(raw)
		}
		n++
	}
	made["inputs"] = fmt.Sprintf("%d, %s", n, hex.EncodeToString(h.Sum(nil)))
	return made, nil
}

// ErrStale is wrapped when ranges were made from something else.
var ErrStale = errors.New("the ranges are stale")

// Fits returns an error that wraps ErrStale and names what differs unless c was made from what made says. Ranges that do not say
// what they were made from fit.
func (c *Calibration) Fits(made map[string]string) error {
	if c.Made == nil {
		return nil
	}
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(made)) {
		if c.Made[key] != made[key] {
			differ = append(differ, fmt.Sprintf("%s %.40q, now %.40q", key, c.Made[key], made[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.Made)) {
		if _, ok := made[key]; !ok {
			differ = append(differ, fmt.Sprintf("%s %.40q, now none", key, c.Made[key]))
		}
	}
	if differ == nil {
		return nil
	}
	return fmt.Errorf("quantize: calibration file: %w: %s", ErrStale, strings.Join(differ, "; "))
}
