package measure_test

import (
	"testing"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// slowMeter is a meter of a given update period.
type slowMeter time.Duration

func (m slowMeter) Read() (measure.Reading, error) { return measure.Reading{}, measure.ErrNoCounter }
func (m slowMeter) Period() time.Duration          { return time.Duration(m) }

// TestBlockLength: a block is 50 periods of the counter at least, whatever the recipe asks for.
func TestBlockLength(t *testing.T) {
	for _, c := range []struct {
		seconds float64
		period  time.Duration
		want    time.Duration
	}{
		{1, time.Millisecond, time.Second},           // RAPL
		{1, 100 * time.Millisecond, 5 * time.Second}, // NVML
		{1, 2 * time.Second, 100 * time.Second},      // IPMI, Redfish
		{1, 10 * time.Second, 500 * time.Second},     // battery
		{30, 100 * time.Millisecond, 30 * time.Second},
	} {
		if got := measure.BlockLength(time.Duration(c.seconds*1e9), slowMeter(c.period)); got != c.want {
			t.Errorf("%v s with a period of %v: %v, want %v", c.seconds, c.period, got, c.want)
		}
		if got := measure.BlockLength(time.Duration(c.seconds*1e9), measure.NewGuard(slowMeter(c.period))); got != c.want {
			t.Errorf("guarded: %v, want %v", got, c.want)
		}
	}
	if got := measure.BlockLength(time.Second, nil); got != time.Second {
		t.Errorf("without a meter %v", got)
	}
}
