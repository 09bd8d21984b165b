package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// markdown prints the report as a table for the README.
func markdown(w io.Writer, r *report, s settings) error {
	vm := ""
	if r.Virtualized {
		vm = ", virtual"
	}
	fmt.Fprintf(w, "%s (%d processors%s), %s, ONNX Runtime %s, %s. Peak per thread: %.0f Gflop/s float32", r.CPU, r.Processors, vm, r.ISA, r.ORT, r.Date, r.F32Flops/1e9)
	if r.Int8Ops > 0 {
		fmt.Fprintf(w, ", %.0f Gop/s int8", r.Int8Ops/1e9)
	}
	if r.BF16Flops > 0 {
		fmt.Fprintf(w, ", %.0f Gflop/s bfloat16", r.BF16Flops/1e9)
	}
	fmt.Fprintf(w, ".\n\n")
	fmt.Fprintln(w, "| work | native ms | ORT ms | ORT/native [95 %] | minima | CPU time | no spin: ORT/native [95 %] | floor, aim | verdict | of peak | difference | cosine | rounds |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, x := range r.Results {
		if err := x.markdown(w); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\nTimes are median (least) of %d rounds, or as many as the row says, each with one sample of at least %v per runtime, in random order, after the threads of the one before have parked. ORT/native is paired, above 1 the native engine is faster; "+
		"the 95 %% interval is that of the paired ratio. Both runtimes run in one process with the same threads, inputs and file at their defaults (both spin), and without spinning in the column so named (there idle threads of ONNX Runtime block at once, those of the native engine within a run after 20 us; '-' with one thread, which has no other to wait for and so never spins, and of training); "+
		"inputs and outputs of both are bound, so that no call copies an input or makes memory for an output (but for those that load, and of training). "+
		"CPU time is the paired ratio of CPU time (that of the minima), which others on the machine disturb less. Rounds during which other processes used more than %.2f CPUs are discarded. "+
		"Of reading: the paired ratio to loading as many bytes as the weights have, with the same threads; of int8: of the peak, where a vector that is not rounded is multiplied in digits of 8 bits. "+
		"A floor or an aim holds when the lower end of the interval at the defaults is at or above it, after at least %d rounds; of products of a vector it is a share of reading. "+
		"Load to first result is a new session, in this process, on a file in the page cache. Difference is max|native - ORT| / max|ORT|. In rows named bf16 the native engine has the weights in bfloat16 and ONNX Runtime those in float32. "+
		"Cosine is that between the outputs (of MiniLM the mean-pooled embeddings) and those of ONNX Runtime on the float32 model, native and ONNX Runtime's; it counts as equal when it is at most %g lower. "+
		"Of weights quantized in blocks it is that between both runtimes. The int8 floors are those of hosts with AMX, with VNNI alone and with neither: one host has only one of them.\n",
		r.Rounds, s.sample, s.foreign, leastRounds, equalCosine)
	if r.Restless > 0 {
		fmt.Fprintf(w, "\n%d samples began while threads of the one before still ran.\n", r.Restless)
	}
	for _, x := range r.Results {
		for _, q := range x.Ratios {
			if q.ORT == nativeFloat {
				fmt.Fprintf(w, "\n%s: the native engine takes %.2f [%.2f, %.2f] times as long on the float model (of the minima %.2f, CPU time %.2f).\n", x.Row, q.Wall, q.Lo, q.Hi, q.Min, q.CPU)
			}
		}
	}
	for _, x := range r.Results {
		if len(x.Profile) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n\n| operator | kernel | nodes | µs per call | Gmac/s |\n|---|---|---|---|---|\n", x.Row)
		for _, p := range x.Profile {
			runs := max(1, p.Calls/max(1, p.Count))
			t := p.Time / time.Duration(runs)
			rate := "-"
			if p.MACs > 0 && t > 0 {
				rate = fmt.Sprintf("%.1f", float64(p.MACs)/t.Seconds()/1e9)
			}
			if _, err := fmt.Fprintf(w, "| %s | %s | %d | %.1f | %s |\n", p.Op, p.Kernel, p.Count, float64(t.Nanoseconds())/1e3, rate); err != nil {
				return err
			}
		}
	}
	return nil
}

// markdown prints the row of a result.
func (x *result) markdown(w io.Writer) error {
	if x.Elsewhere != "" {
		_, err := fmt.Fprintf(w, "| %s | not measured on this host, %s ||||||%s||||||\n", x.Row, x.Elsewhere, x.Goal)
		return err
	}
	if x.Skipped != "" {
		_, err := fmt.Fprintf(w, "| %s | not measured: %s ||||||%s||||||\n", x.Row, strings.ReplaceAll(x.Skipped, "\n", " "), x.Goal)
		return err
	}
	other, paired := "-", "- | - | -"
	if len(x.Ratios) > 0 {
		q := x.Ratios[0]
		other = ms(x.Timings[1])
		paired = fmt.Sprintf("**%.2f** [%.2f, %.2f] | %.2f | %.2f (%.2f)", q.Wall, q.Lo, q.Hi, q.Min, q.CPU, q.CPUMin)
	}
	quiet := "-"
	if len(x.Ratios) > 1 && x.Ratios[1].ORT != nativeFloat {
		p := x.Ratios[1]
		quiet = fmt.Sprintf("%.2f [%.2f, %.2f]", p.Wall, p.Lo, p.Hi)
	}
	share := "-"
	if x.Roofline > 0 {
		share = fmt.Sprintf("%.0f %%", 100*x.Roofline)
		if x.Bandwidth {
			what := "reading"
			if x.Copying {
				what = "copying"
			}
			share = fmt.Sprintf("%.0f %% [%.0f, %.0f] of %s, minima %.0f %%", 100*x.Roofline, 100*x.RoofLo, 100*x.RoofHi, what, 100*x.RoofMin)
		}
		if x.Multiplies > 0 {
			share += fmt.Sprintf("; %.0f %% of int8", 100*x.Multiplies)
		}
	}
	rounds := fmt.Sprintf("%d, %d discarded", x.Rounds, x.Discarded)
	if x.Dirty > 0 {
		rounds += fmt.Sprintf(", %d with others (%.1f CPUs)", x.Dirty, x.Foreign)
	}
	cos := "-"
	if x.Cosine != 0 {
		cos = fmt.Sprintf("%.5f", x.Cosine)
	}
	if x.CosineORT != 0 {
		cos += fmt.Sprintf(", %.5f", x.CosineORT)
	}
	name, diff := x.Row, fmt.Sprintf("%.1e", x.Difference)
	if x.Note != "" {
		name, diff = fmt.Sprintf("%s (%s)", x.Row, x.Note), "-"
	}
	_, err := fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
		name, ms(x.Timings[0]), other, paired, quiet, x.Goal, x.Verdict, share, diff, cos, rounds)
	return err
}

// ms prints median and least time.
func ms(t timing) string {
	digits := 2
	if t.Median < 1e-3 {
		digits = 3
	}
	return fmt.Sprintf("%.*f (%.*f)", digits, 1e3*t.Median, digits, 1e3*t.Min)
}
