package metertest_test

import (
	"testing"
	"testing/fstest"

	"github.com/wattshed/wattshed/measure/metertest"
)

// FuzzCase: a tree, the samples and the expectations of a case that anybody may hand in are refused or played, and never panic.
func FuzzCase(f *testing.F) {
	f.Add("file 0444 devices/virtual/powercap/intel-rapl/intel-rapl:0/name package-0\nlink class/powercap/intel-rapl:0 ../../devices/virtual/powercap/intel-rapl/intel-rapl:0",
		"t_s,zone,energy_uj\n0,intel-rapl/intel-rapl:0,1\n1,intel-rapl/intel-rapl:0,EIO\n", `{"tree":"t","total":{"counted_zones":["intel-rapl/intel-rapl:0"]},"windows":[{"from_s":0,"to_s":1}]}`)
	f.Add("link a a", "t_s,event,count\nNaN,cpu0/energy-pkg,-1\n", `{"tree":"t","total":{"counted_events":["cpu0/energy-pkg"]}}`)
	f.Fuzz(func(t *testing.T, tree, samples, expected string) {
		if len(tree)+len(samples)+len(expected) > 64<<10 {
			return
		}
		cases, err := metertest.Load(fstest.MapFS{"cases/x/expected.json": {Data: []byte(expected)}, "cases/x/samples.csv": {Data: []byte(samples)},
			"trees/t.tree": {Data: []byte(tree)}, "trees/perf_power.tree": {Data: []byte(tree)}})
		if err != nil {
			return
		}
		rs, err := cases[0].PlayAll(ours)
		if err != nil {
			return
		}
		_ = cases[0].Check(rs[len(rs)-1])
		_ = cases[0].CheckWindows(rs)
	})
}
