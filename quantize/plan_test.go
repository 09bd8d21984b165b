package quantize

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestDigests: the sum over stretches in any order is the CRC-32C of the standard library over the whole.
func TestDigests(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := rng.IntN(5000)
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		tensor := model.FromSlice([]int{n}, b)
		g := &model.Graph{}
		g.SetInitializer("w", tensor)
		d := newDigests(g)
		cuts := []int{0, n}
		for range rng.IntN(9) {
			cuts = append(cuts, rng.IntN(n+1))
		}
		for i := range cuts { // sorted
			for j := range i {
				if cuts[j] > cuts[i] {
					cuts[i], cuts[j] = cuts[j], cuts[i]
				}
			}
		}
		for _, i := range rng.Perm(len(cuts) - 1) {
			d.add(tensor, b[cuts[i]:cuts[i+1]], int64(cuts[i]))
		}
		got, err := d.of(tensor)
		if want := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)); err != nil || got != want {
			t.Fatalf("%d bytes in %d stretches: %08x, want %08x, %v", n, len(cuts)-1, got, want, err)
		}
	}
	if got := crc32.Checksum([]byte("123456789"), castagnoli()); got != 0xe3069283 { // the check value of CRC-32C (RFC 3720, catalogue of parametrised CRC algorithms)
		t.Errorf("%08x", got)
	}
}
