package measure

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Bounds of a factor table.
const (
	maxTable     = 4 << 20
	maxTableRows = 100_000
)

// ReadTable parses a CSV table whose header must be exactly columns and returns its rows, each as long as the
// header. At most 4 MiB and 100,000 rows. Errors name the line.
func ReadTable(data []byte, columns ...string) ([][]string, error) {
	if len(data) > maxTable {
		return nil, fmt.Errorf("measure: table of %d bytes, at most %d", len(data), maxTable)
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = len(columns)
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("measure: table header: %w", err)
	}
	if !slices.Equal(head, columns) {
		return nil, fmt.Errorf("measure: table header is %q, want %q", head, columns)
	}
	var rows [][]string
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("measure: table: %w", err)
		}
		if len(rows) == maxTableRows {
			return nil, fmt.Errorf("measure: table: more than %d rows", maxTableRows)
		}
		rows = append(rows, row)
	}
}
