//go:build amd64 && !noasm

package kernel

import "testing"

// leaveReading has the kernels of one row fetch ahead in every other pair of cases and those of AVX-512 in every other four, whatever the CPU, until the
// test ends.
func leaveReading(t *testing.T) func(i int) {
	own, asks := readsAhead, asksAhead
	t.Cleanup(func() { readsAhead, asksAhead = own, asks })
	return func(i int) { readsAhead, asksAhead = i/2%2 == 0, i/4%2 == 0 }
}
