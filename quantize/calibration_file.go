package quantize

import (
	"encoding/json"
	"fmt"
	"io"
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
	Ranges map[string][2]float32 `json:"ranges"` // lowest and highest, by value name
}

// Write writes c as JSON: the same bytes for the same ranges.
func (c *Calibration) Write(w io.Writer) error {
	f := calibrationFile{calibrationSchema, c.Method, c.Source, c.Runs, make(map[string][2]float32, len(c.Ranges))}
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
	c := &Calibration{Method: f.Method, Source: f.Source, Runs: f.Runs, Ranges: make(map[string]Interval, len(f.Ranges))}
	for name, v := range f.Ranges {
		if v[0]-v[0] != 0 || v[1]-v[1] != 0 || v[0] > v[1] {
			return nil, fmt.Errorf("quantize: calibration file: value %.80q: %v to %v is no finite range", name, v[0], v[1])
		}
		c.Ranges[name] = Interval{v[0], v[1]}
	}
	return c, nil
}
