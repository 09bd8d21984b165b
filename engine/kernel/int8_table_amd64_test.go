//go:build amd64 && !noasm

package kernel

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestRowTable compares lookups in tables that are constant up to some place, of every number of rows that there are kernels for, with the definition.
func TestRowTable(t *testing.T) {
	if !Active().hasAVX2() {
		t.Skip("no assembly at the active level")
	}
	r := rand.New(rand.NewPCG(10, 2))
	from := randBytes(r, 1<<12)
	for i := range cases(84000) {
		low := []int{128 + r.IntN(128), 96 + r.IntN(32), 64 + r.IntN(32), 32 + r.IntN(32)}[i%4]
		table := [256]uint8(from[r.IntN(1<<11):])
		for k := range low {
			table[k+1] = table[0]
		}
		x := from[r.IntN(1<<11):][:r.IntN(80)]
		y := bytes.Clone(x)
		newRowTable(&table).lookup(y)
		for k, v := range y {
			if v != table[x[k]] {
				t.Fatalf("case %d, one value up to %d: byte %d of %d, %d, became %d, want %d", i, low, k, len(y), x[k], v, table[x[k]])
			}
		}
	}
}
