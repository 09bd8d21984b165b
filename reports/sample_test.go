package reports

import (
	"math"
	"math/rand/v2"
	"time"
)

func ptr[T any](x T) *T { return &x }

// sampleVariant says how one synthetic variant differs from the baseline.
type sampleVariant struct {
	name              string
	size, speed, acc  float64
	sparsity, memory  float64
	stage             string
	options           map[string]any
	how               string
	left, leftWhy     string
	kernel            string
	joulesMade, hours float64
}

func sampleVariants() []sampleVariant {
	q := func(s string) map[string]any { return map[string]any{"scheme": s, "storage": "weights"} }
	return []sampleVariant{
		{name: "baseline", size: 1, speed: 1, acc: 0.9712, memory: 1, kernel: "f32"},
		{name: "fp16", size: 0.502, speed: 1.004, acc: 0.9712, memory: 0.97, stage: "quantize", options: q("fp16"), how: "fp16, kept behind a Cast", kernel: "f32", joulesMade: 3, hours: 0.0005},
		{name: "bf16", size: 0.502, speed: 1.012, acc: 0.9705, memory: 0.97, stage: "quantize", options: q("bf16"), how: "bf16, kept behind a Cast", kernel: "f32", joulesMade: 3, hours: 0.0005},
		{name: "int8", size: 0.262, speed: 0.47, acc: 0.9698, memory: 0.61, stage: "quantize", options: map[string]any{"scheme": "int8", "mode": "dynamic", "granularity": "per-channel"}, how: "int8 dynamic, per-channel, symmetric", left: "fc.bias", leftWhy: "a bias: 8 bits save 24 bytes and cost accuracy", kernel: "u8s8", joulesMade: 8, hours: 0.001},
		{name: "pruned-50-with-recovery", size: 1, speed: 0.995, acc: 0.9735, sparsity: 0.5, memory: 1.01, stage: "prune", options: map[string]any{"criterion": "magnitude", "sparsity": 0.5}, how: "5.0e-01 of the elements set to zero", kernel: "f32", joulesMade: 1900, hours: 0.016},
		{name: "sparse-2:4-with-recovery", size: 1, speed: 1.06, acc: 0.9623, sparsity: 0.5, memory: 1.01, stage: "prune", options: map[string]any{"criterion": "magnitude", "pattern": "2:4"}, how: "two of every four set to zero", kernel: "f32", joulesMade: 1900, hours: 0.016},
		{name: "student", size: 0.18, speed: 0.23, acc: 0.9601, memory: 0.38, stage: "distill", options: map[string]any{"teacher": "baseline", "epochs": 3.0}, how: "trained from scratch against the teacher", kernel: "f32", joulesMade: 4200, hours: 0.035},
		{name: "student-int8", size: 0.052, speed: 0.17, acc: 0.9565, memory: 0.31, stage: "quantize", options: map[string]any{"scheme": "int8", "mode": "dynamic"}, how: "int8 dynamic, per-channel, symmetric", kernel: "u8s8", joulesMade: 4210, hours: 0.035},
	}
}

// demoResult is a synthetic result with eight variants, modelled energy and plausible noise.
func demoResult() *Result {
	rng := rand.New(rand.NewPCG(7, 11))
	r := &Result{
		Schema:       Schema,
		Tool:         Tool{Name: "wattshed", Version: "0.1.0", Commit: "0123456789abcdef", Go: "go1.26.0"},
		Host:         &Host{CPU: "Example CPU 8480 @ 2.0GHz", ISA: []string{"avx2", "avx512", "vnni"}, Cores: 2, Memory: 8 << 30, OS: "linux 6.8", Virtualized: ptr(true)},
		Target:       &Target{Runtime: "native", Provider: "cpu", Version: "0.1.0", ISA: "avx512+vnni", Threads: 2, Batch: 1, Sequence: 200},
		Model:        &Model{Name: "spam-lstm", Path: "builtin:spam-lstm", Format: "onnx", Bytes: 3_120_456, SHA256: "6f1c7c2f1f0d4f5ab7b6c1d8f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3"},
		Task:         &Task{Kind: "classification", Metric: "accuracy", Data: "builtin:spam", Split: "test", N: 905, Baselines: []TaskBaseline{{Name: "majority class", Value: 0.6873, N: 905}, {Name: "naive Bayes", Value: 0.9381, N: 905}, {Name: "logistic regression", Value: 0.9646, N: 905}}},
		RecipeSHA256: "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
		Started:      time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC), Finished: time.Date(2026, 3, 4, 9, 33, 41, 0, time.UTC),
		Method: &Method{Pairs: 12, Warmup: 5, Order: "ABBA blocks", IdleSeconds: ptr(2.0), Precision: ptr(0.02), Statistic: "mean of paired log ratios, t interval",
			Notes:       []string{"Baseline and variant ran in turn in one process, so both see the same heat and the same neighbours."},
			Assumptions: []string{"CPU power: 2 busy cores x 6.2 W + 9 W package share, uncertainty 35 %.", "Memory power: 0.37 W per GiB in use."}},
		Roofline: &Roofline{GFLOPS: 142.5, GBytesS: 21.4},
		Impact: &Impact{Variant: "student-int8", EnergyIntensity: ptr(4.1e-9), CarbonIntensity: ptr(344.0), Index: ptr(0.21), Weights: map[string]float64{"energy_j": 0.5, "carbon_g": 0.25, "machine_s": 0.25}, References: map[string]float64{"energy_j": 0.0391, "carbon_g": 4.8e-6, "machine_s": 1.9e-3},
			Source: SourceModelled, Missing: []string{"water: carbon.wue and carbon.ewif are not set"}, Ranking: &Ranking{Order: []string{"student-int8", "student", "int8"}, Statement: "Least impact first: student-int8, student, int8. By carbon the order does not flip."}},
		Warnings: []string{"The host is virtual: neighbours may have added noise.", "No energy counter is readable: energy and carbon are modelled from CPU time."},
	}
	const bytes, p50, joules = 3_120_456, 1.84e-3, 0.0391
	params := int64(776_834)
	for i, s := range sampleVariants() {
		v := Variant{Name: s.name, File: &File{Path: "models/" + s.name + ".onnx", Format: "onnx", Bytes: int64(bytes * s.size), SHA256: r.Model.SHA256}}
		if s.stage != "" {
			v.Stages = []Stage{{Name: s.stage, Options: s.options}}
			for _, w := range []string{"embedding.weight", "lstm.W", "lstm.R", "fc.weight"} {
				v.Notes = append(v.Notes, Note{Stage: s.stage, Weight: w, Op: map[string]string{"embedding.weight": "Gather", "fc.weight": "Gemm"}[w], Action: Touched, How: s.how, Elements: 65536, BytesBefore: 262144, BytesAfter: int64(262144 * s.size)})
			}
			if s.left != "" {
				v.Notes = append(v.Notes, Note{Stage: s.stage, Weight: s.left, Op: "Gemm", Action: Left, Why: s.leftWhy, Elements: 8, BytesBefore: 32, BytesAfter: 32})
			}
		}
		p := params
		if s.stage == "distill" || s.name == "student-int8" {
			p = params / 5
		}
		v.Weights = &Weights{Parameters: p, Nonzero: int64(float64(p) * (1 - s.sparsity)), Sparsity: ptr(s.sparsity), Bytes: v.File.Bytes - 4096, MACs: ptr(int64(19_400_000 * float64(p) / float64(params)))}
		n := 905
		half := 1.96 * math.Sqrt(s.acc*(1-s.acc)/float64(n))
		v.Accuracy = &Accuracy{Metric: "accuracy", Value: s.acc, N: n, CI95: &Interval{s.acc - half, s.acc + half}}
		mean := 0.0
		samples := make([]float64, 240)
		for j := range samples {
			samples[j] = p50 * s.speed * (1 + 0.03*rng.NormFloat64() + 0.12*math.Abs(rng.NormFloat64()*rng.Float64()))
			mean += samples[j] / float64(len(samples))
		}
		v.Latency = &Latency{P50: quantile(samples, 0.5), P95: quantile(samples, 0.95), P99: quantile(samples, 0.99), Mean: mean, N: len(samples), Samples: samples}
		v.Latency.CI95 = &Interval{v.Latency.P50 * 0.992, v.Latency.P50 * 1.009}
		v.Throughput = ptr(1 / mean)
		v.Memory = &Memory{PeakRSS: ptr(int64(14_200_000 * s.memory)), Weights: ptr(v.File.Bytes), Arena: ptr(int64(1_048_576)), EmptyProcess: ptr(int64(9_100_000))}
		e := joules * s.speed
		v.Energy = &Energy{PerInference: ptr(e), CI95: &Interval{e * 0.66, e * 1.35}, N: 12, Source: SourceModelled, IdleW: ptr(9.0), NetPerInference: ptr(e * 0.6), PerCorrect: ptr(e / s.acc),
			Domains: []Domain{{Domain: "cpu", Source: SourceModelled, Joules: e * 0.93, UAbs: ptr(e * 0.34)}, {Domain: "dram", Source: SourceModelled, Joules: e * 0.07, UAbs: ptr(e * 0.05)}}}
		g := e / 3.6e6 * 344 * 1.15
		v.Carbon = &Carbon{Operational: ptr(g), Embodied: ptr(g * 0.11), Total: ptr(g * 1.11), PUE: ptr(1.15), CI95: &Interval{g * 0.6, g * 1.6},
			Intensity: &Intensity{GPerKWh: 344, Zone: "DEU", Year: 2024, Source: "Ember", Licence: "CC-BY-4.0", Basis: "location-average"}}
		for k, in := range []string{"intensity", "energy", "lifetime", "embodied", "pue"} {
			u := 0.5 / float64(k+1) / float64(k+1)
			if in == "pue" {
				u = 0
			}
			v.Carbon.Tornado = append(v.Carbon.Tornado, Swing{in, g * 1.11 * (1 - u/(1+u)), g * 1.11 * (1 + u)})
		}
		v.Carbon.N, v.Carbon.Source, v.Carbon.EmbodiedSource = 10_000, SourceModelled, "generic server, 2 CPU, 8 GB"
		v.Carbon.SCI = &SCI{Per1000Inferences: &Figure{g * 1110, &Interval{g * 600, g * 1600}, 10_000}, Per1000Tokens: &Figure{g * 5.6, &Interval{g * 3, g * 8}, 10_000}, PerCorrect: &Figure{g * 1.15, &Interval{g * 0.6, g * 1.7}, 10_000}, Boundary: "operational and embodied"}
		r.Impact.Vectors = append(r.Impact.Vectors, ImpactVector{Variant: s.name, EnergyJ: ptr(e), CarbonG: ptr(g * 1.11), MachineS: ptr(mean), Index: ptr(s.speed), CI95: &Interval{s.speed * 0.97, s.speed * 1.03}, N: 12})
		if i > 0 {
			r.Blocks = append(r.Blocks, sampleBlocks(rng, s, e, len(r.Blocks))...)
			v.Carbon.Ratio = &EnergyRatio{Value: s.speed * 1.01, CI95: &Interval{s.speed * 0.98, s.speed * 1.04}, N: 12, Basis: BasisCPUTime,
				Pairing: Pairing{Method: "t", P: ptr(0.004), PHolm: ptr(0.02), NeededPairs: 10, Decides: &Interval{s.speed * 0.96, s.speed * 1.06}}}
			v.Latency.Ratio = &Ratio{Value: s.speed, CI95: &Interval{s.speed * 0.985, s.speed * 1.016}, N: 12}
			v.Energy.Ratio = &EnergyRatio{Value: s.speed * 1.01, CI95: &Interval{s.speed * 0.99, s.speed * 1.03}, N: 12, Basis: BasisCPUTime}
			d := s.acc - 0.9712
			v.Accuracy.Delta = &Delta{Value: d, CI95: &Interval{d - 0.006, d + 0.006}, Test: "McNemar, exact", P: ptr(0.31)}
			v.Cost = &Cost{Seconds: ptr(s.hours * 3600), Joules: ptr(s.joulesMade), GCO2e: ptr(s.joulesMade / 3.6e6 * 344 * 1.15), Source: SourceModelled}
			if s.speed < 0.97 {
				b := s.joulesMade / (joules * (1 - s.speed))
				v.Cost.Breakeven = &Breakeven{Value: b, CI95: &Interval{b * 0.9, b * 1.15}}
			} else {
				v.Cost.NoneDemonstrated = true
			}
		}
		t := v.Latency.Mean
		v.Profile = []OpProfile{
			{Op: "LSTM", Kernel: "lstm_" + s.kernel, Count: 1, Seconds: t * 0.82, Share: 0.82, MACs: v.Weights.MACs, Bytes: ptr(int64(1_200_000))},
			{Op: "Gemm", Kernel: "gemm_" + s.kernel, Count: 1, Seconds: t * 0.09, Share: 0.09, MACs: ptr(int64(256)), Bytes: ptr(int64(1024))},
			{Op: "Gather", Kernel: "gather", Count: 2, Seconds: t * 0.05, Share: 0.05},
			{Op: "Transpose", Count: 1, Seconds: t * 0.03, Share: 0.03},
			{Op: "Squeeze", Count: 1, Seconds: t * 0.01, Share: 0.01},
		}
		r.Variants = append(r.Variants, v)
	}
	g, err := ParseGates(map[string]string{"accuracy_drop": "<= 0.01", "energy_ratio": "<= 0.6", "size_ratio": "<= 0.3"}, false)
	if err != nil {
		panic(err)
	}
	r.Gates = Judge(r, g)
	return r
}

// sampleBlocks are 12 pairs of one variant, one block of them with a gap.
func sampleBlocks(rng *rand.Rand, s sampleVariant, joules float64, at int) []Block {
	var out []Block
	for k := range 24 {
		base := k%4 == 0 || k%4 == 3
		b := Block{Round: k / 4, Position: k % 4, Variant: s.name, Baseline: base, Start: 1.1 * float64(at+k), Seconds: 1, Inferences: 25,
			Joules: ptr((11 + 2*rng.Float64()) * (0.8 + 0.2*s.speed)), Source: SourceModelled, MHz: ptr(2600 + 50*rng.NormFloat64()), Celsius: ptr(55 + 0.03*float64(at+k) + rng.Float64())}
		if base {
			b.Joules = ptr(12 + rng.Float64())
		}
		if k == 9 {
			b.Joules, b.Gap = nil, "reset"
		}
		out = append(out, b)
	}
	return out
}

// emptyResult has two variants about which nothing is known but the name.
func emptyResult() *Result {
	return &Result{Schema: Schema, Tool: Tool{Version: "0.1.0"}, Variants: []Variant{{Name: "baseline", Ops: map[string]int{"MatMul": 3}}, {Name: "variant"}}}
}

// nastyResult is demoResult with names that break naive escaping and layout, and measured energy.
func nastyResult() *Result {
	r := demoResult()
	r.Model.Name = "<script>alert(1)</script>"
	r.Task.Data = "a|b`c"
	for i := range r.Blocks {
		r.Blocks[i].Source, r.Blocks[i].Celsius = SourceMeasured, nil
	}
	r.Impact.Source = SourceMeasured
	r.Idle = &Idle{BeforeW: ptr(8.8), AfterW: ptr(9.3), Source: SourceMeasured}
	for i := range r.Variants {
		r.Variants[i].Energy.Source = SourceMeasured
		if q := r.Variants[i].Energy.Ratio; q != nil {
			q.Basis = BasisCounter
		}
	}
	r.Variants[1].Name = "a<b&\"c|d`\x00\x1b]\u2028"
	r.Variants[2].Name = "a very long name of a variant that somebody generated from all of its options, sparsity 0.5, seed 17"
	r.Variants[3].Name = "日本語の名前"
	r.Variants[4].Name = "=cmd|' /C calc'!A0"
	g, err := ParseGates(map[string]string{"accuracy_drop": "<= 0.01", "energy_ratio": "<= 0.6"}, false)
	if err != nil {
		panic(err)
	}
	r.Gates = Judge(r, g)
	r.Method.Assumptions = nil
	r.Variants[1].Notes[0].Weight = "</details><b>x"
	r.Warnings = append(r.Warnings, "a | b\nc <d>")
	return r
}

// fidelityResult is what a run without a task gives: agreement with the baseline, measured energy in
// two domains, no memory, twelve variants.
func fidelityResult() *Result {
	r := demoResult()
	r.Model = &Model{Path: "models/all-MiniLM-L6-v2/onnx/model.onnx", Bytes: 90_405_214}
	r.Task = &Task{Kind: "fidelity", Metric: "cosine", Data: "sentences.txt", N: 500}
	r.Gates = nil
	r.Variants = append(r.Variants, r.Variants[1:5]...)
	for i := range r.Variants {
		v := &r.Variants[i]
		if i >= 8 {
			v.Name += "-second-pass-group-128"
		}
		v.Memory, v.Cost = nil, nil
		e := *v.Energy
		e.Source = SourceMeasured
		if e.Ratio != nil {
			e.Ratio = &EnergyRatio{Value: e.Ratio.Value, CI95: e.Ratio.CI95, N: 12, Basis: BasisCounter}
		}
		v.Energy = &e
		x := 1 - 1e-5*float64(i*i*i)
		v.Accuracy = &Accuracy{Metric: "cosine to the baseline", P01: ptr(x - 2e-4*float64(i)), Value: x, N: 500, CI95: &Interval{x - 1e-5*float64(i), x}}
		if i > 0 {
			v.Accuracy.Delta = &Delta{Value: x - 1, CI95: &Interval{x - 1 - 1e-5*float64(i), x - 1 + 5e-6*float64(i-3)}}
		}
		if v.Accuracy.Delta != nil && v.Accuracy.Delta.CI95[0] > v.Accuracy.Delta.CI95[1] {
			v.Accuracy.Delta.CI95 = nil
		}
	}
	return r
}
