//go:build amd64 && !noasm

package kernel

import "testing"

// leaveReading has the kernels of one row fetch ahead in every other pair of cases, whatever the CPU, until the test ends.
func leaveReading(t *testing.T) func(i int) {
	own := readsAhead
	t.Cleanup(func() { readsAhead = own })
	return func(i int) { readsAhead = i/2%2 == 0 }
}
