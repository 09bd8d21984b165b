package kernel

import (
	"testing"
	"time"
)

// TestMeasurePeak checks which fields are measured; the values depend on the machine.
func TestMeasurePeak(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		isa, p := Active(), MeasurePeak(time.Millisecond, 1<<16)
		dots := isa.hasAVX2() && isa != AVX2 && isa != AVX512
		if (p.F32Flops > 0) != isa.hasAVX2() || (p.Int8Ops > 0) != dots || (p.ReadBps > 0) != isa.hasAVX2() || (p.BF16Flops > 0) != isa.hasBF16() {
			t.Fatalf("%v: %+v", Active(), p)
		}
		t.Logf("one thread: %.1f GFLOPS, int8 %.1f GOPS, bf16 %.1f GFLOPS, read %.1f GB/s", p.F32Flops/1e9, p.Int8Ops/1e9, p.BF16Flops/1e9, p.ReadBps/1e9)
	})
}
