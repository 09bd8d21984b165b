package reports

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// CSV writes r in long form, one figure per line, with the columns variant, metric, unit, value,
// ci95_low, ci95_high, n, kind. Absent figures have no line. Names stand as they are: a spreadsheet
// may take one that begins with "=" for a formula. The samples of latency are in result.json only.
func CSV(w io.Writer, r *Result) error {
	if err := r.Validate(); err != nil {
		return err
	}
	c := &csvLines{w: csv.NewWriter(w)}
	c.write("variant", "metric", "unit", "value", "ci95_low", "ci95_high", "n", "kind")
	for i := range r.Variants {
		v := &r.Variants[i]
		c.name = v.Name
		c.counted(v)
		c.scored(v)
		c.timed(r, v)
		c.powered(v)
	}
	c.w.Flush()
	if c.err == nil {
		c.err = c.w.Error()
	}
	if c.err != nil {
		return fmt.Errorf("reports: csv: %w", c.err)
	}
	return nil
}

type csvLines struct {
	w    *csv.Writer
	name string
	err  error
}

func (c *csvLines) write(fields ...string) {
	if c.err == nil {
		c.err = c.w.Write(fields)
	}
}

// put writes one figure of the current variant.
func (c *csvLines) put(metric, unit string, x float64, ci *Interval, n int, kind string) {
	f := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	row := []string{c.name, metric, unit, f(x), "", "", "", kind}
	if ci != nil {
		row[4], row[5] = f(ci[0]), f(ci[1])
	}
	if n > 0 {
		row[6] = strconv.Itoa(n)
	}
	c.write(row...)
}

func (c *csvLines) maybe(metric, unit string, x *float64, kind string) {
	if x != nil {
		c.put(metric, unit, *x, nil, 0, kind)
	}
}

func (c *csvLines) counted(v *Variant) {
	if v.File != nil {
		c.put("file_bytes", "B", float64(v.File.Bytes), nil, 0, "counted")
	}
	if q := v.Weights; q != nil {
		c.put("parameters", "1", float64(q.Parameters), nil, 0, "counted")
		c.put("nonzero", "1", float64(q.Nonzero), nil, 0, "counted")
		c.put("weight_bytes", "B", float64(q.Bytes), nil, 0, "counted")
		c.maybe("sparsity", "1", q.Sparsity, "counted")
		c.bytes("macs_per_inference", "1", q.MACs, "counted")
	}
}

func (c *csvLines) bytes(metric, unit string, n *int64, kind string) {
	if n != nil {
		c.put(metric, unit, float64(*n), nil, 0, kind)
	}
}

func (c *csvLines) scored(v *Variant) {
	a := v.Accuracy
	if a == nil {
		return
	}
	c.put(a.Metric, "1", a.Value, a.CI95, a.N, SourceMeasured)
	c.maybe(a.Metric+"_p01", "1", a.P01, SourceMeasured)
	if a.Delta != nil {
		c.put(a.Metric+"_delta", "1", a.Delta.Value, a.Delta.CI95, a.N, SourceMeasured)
		c.maybe(a.Metric+"_delta_p", "1", a.Delta.P, SourceMeasured)
	}
}

func (c *csvLines) timed(r *Result, v *Variant) {
	if l := v.Latency; l != nil {
		c.put("latency_p50", "s", l.P50, l.CI95, l.N, SourceMeasured)
		c.put("latency_p95", "s", l.P95, l.P95CI, l.N, SourceMeasured)
		c.put("latency_p99", "s", l.P99, l.P99CI, l.N, SourceMeasured)
		c.put("latency_mean", "s", l.Mean, l.MeanCI, l.N, SourceMeasured)
		if q := l.Ratio; q != nil {
			c.put("latency_ratio", "1", q.Value, q.CI95, q.N, SourceMeasured)
			if t, ok := timesOf(r, v); ok && t.Base > 0 { // the geometric means of blocks whose quotient the ratio is
				c.put("latency_paired", "s", t.Own, nil, q.N, SourceMeasured)
				c.put("latency_paired_baseline", "s", t.Base, nil, q.N, SourceMeasured)
			}
		}
	}
	if v.Throughput != nil {
		q := v.Rate
		if q == nil {
			q = &Rate{}
		}
		c.put("throughput", "1/s", *v.Throughput, q.CI95, q.N, SourceMeasured)
	}
	if m := v.Memory; m != nil {
		if m.PeakRSS != nil {
			c.put("memory_peak_rss", "B", float64(*m.PeakRSS), nil, m.N, SourceMeasured)
		}
		c.bytes("memory_weights", "B", m.Weights, "counted")
		c.bytes("memory_arena", "B", m.Arena, "counted")
		c.bytes("memory_empty_process", "B", m.EmptyProcess, SourceMeasured)
	}
}

func (c *csvLines) powered(v *Variant) {
	kind := ""
	if e := v.Energy; e != nil {
		kind = e.Source
		if e.PerInference != nil {
			c.put("energy_per_inference", "J", *e.PerInference, e.CI95, e.N, kind)
		}
		twice := map[string]int{} // dram of every socket has the same name
		for _, d := range e.Domains {
			twice[d.Domain]++
		}
		for _, d := range e.Domains {
			k, name := d.Kind, "energy_"+d.Domain
			if k == "" {
				k = kind
			}
			if twice[d.Domain] > 1 && d.Zone != "" {
				name = "energy_" + d.Zone
			}
			if !d.Headline && d.Zone != "" {
				name += "_not_counted" // a breakdown, or another view of the same joules
			}
			var ci *Interval
			if d.UAbs != nil {
				ci = &Interval{d.Joules - *d.UAbs, d.Joules + *d.UAbs}
			}
			c.put(name, "J", d.Joules, ci, e.N, k)
			c.maybe(name+"_u_abs", "J", d.UAbs, k)
		}
		c.maybe("energy_coverage", "1", e.Coverage, kind)
		if e.IdleW != nil {
			c.put("idle_power", "W", *e.IdleW, e.IdleCI95, e.IdleN, kind)
		}
		if e.NetPerInference != nil {
			c.put("energy_net_per_inference", "J", *e.NetPerInference, e.NetCI95, e.N, kind)
		}
		if e.PerCorrect != nil {
			c.put("energy_per_correct", "J", *e.PerCorrect, e.PerCorrectCI95, e.PerCorrectN, kind)
		}
		c.paired("energy_ratio", e.Ratio)
		c.paired("energy_per_correct_ratio", e.PerCorrectRatio)
	}
	c.emitted(v.Carbon, kind)
	if m := v.Cost; m != nil {
		if m.Seconds != nil {
			c.put("cost_seconds", "s", *m.Seconds, nil, m.N, SourceMeasured)
		}
		if m.Joules != nil {
			c.put("cost_energy", "J", *m.Joules, m.JoulesCI95, 1, m.Source)
		}
		if m.GCO2e != nil {
			c.put("cost_carbon", "gCO2e", *m.GCO2e, m.GCO2eCI95, 1, m.Source)
		}
		for _, b := range []struct {
			name string
			b    *Breakeven
		}{{"breakeven_inferences", m.Breakeven}, {"breakeven_inferences_carbon", m.BreakevenCarbon}} {
			if b.b != nil {
				c.put(b.name, "1", b.b.Value, b.b.CI95, b.b.N, kind)
			}
		}
	}
}

// paired writes a ratio of energies or grams and its p values.
func (c *csvLines) paired(name string, q *EnergyRatio) {
	if q == nil {
		return
	}
	k := SourceMeasured
	if q.Basis != BasisCounter {
		k = SourceModelled
	}
	c.put(name, "1", q.Value, q.CI95, q.N, k)
	c.maybe(name+"_p", "1", q.P, k)
	c.maybe(name+"_p_holm", "1", q.PHolm, k)
}

func (c *csvLines) emitted(g *Carbon, kind string) {
	if g == nil {
		return
	}
	for _, p := range []struct {
		name string
		x    *float64
		ci   *Interval
		kind string
	}{{"carbon_operational", g.Operational, g.OperationalCI, kind}, {"carbon_embodied", g.Embodied, g.EmbodiedCI, SourceModelled}} {
		if p.x != nil {
			c.put(p.name, "gCO2e", *p.x, p.ci, g.N, p.kind)
		}
	}
	if g.Total != nil {
		c.put("carbon_total", "gCO2e", *g.Total, g.CI95, g.N, kind)
	}
	c.paired("carbon_ratio", g.Ratio)
	if s := g.SCI; s != nil {
		for _, f := range []struct {
			name string
			f    *Figure
		}{{"sci_per_1000_inferences", s.Per1000Inferences}, {"sci_per_1000_tokens", s.Per1000Tokens}, {"sci_per_correct", s.PerCorrect}} {
			if f.f != nil {
				c.put(f.name, "gCO2e", f.f.Value, f.f.CI95, g.N, kind)
			}
		}
	}
	for _, b := range g.Tornado {
		if g.Total != nil && b.Lo <= b.Hi {
			c.put("carbon_total_by_"+b.Input, "gCO2e", *g.Total, &Interval{b.Lo, b.Hi}, 0, kind)
		}
	}
	if g.WaterL != nil {
		c.put("water", "L", *g.WaterL, g.WaterCI, g.N, kind)
	}
}
