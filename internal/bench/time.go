package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/measure"
)

// bench runs rows.
type bench struct {
	settings
	ort    *ort.Runtime
	assets string
	dir    string            // temporary folder of written models
	files  map[string]string // path by source
	report *report
	log    io.Writer
	helper func() time.Duration // CPU time of a process that works for this one; nil if there is none
}

// contender is a runtime with its settings.
type contender struct {
	name    string
	runtime engine.Runtime
	options engine.Options
	path    string // of its model, "" = that of the row
	session engine.Session
	bound   engine.Bound // the input in place, nil where calls take it
	calls   int          // per sample
	wall    []float64    // seconds per call, of the rounds that count
	cpu     []float64
}

// timing is what the table shows of a contender, in seconds per call.
type timing struct {
	Name   string    `json:"name"`
	Median float64   `json:"median_s"`
	Min    float64   `json:"min_s"`
	CPU    float64   `json:"cpu_median_s"`
	Calls  int       `json:"calls_per_sample"`
	Wall   []float64 `json:"samples_s"`
}

// ratio is ORT / native: above 1 the native engine is faster.
type ratio struct {
	Native string  `json:"native"`
	ORT    string  `json:"ort"`
	Wall   float64 `json:"wall"`
	Lo     float64 `json:"ci95_lo"`
	Hi     float64 `json:"ci95_hi"`
	Min    float64 `json:"of_minima"`
	CPU    float64 `json:"cpu"`
	CPUMin float64 `json:"cpu_of_minima"`
	CPULo  float64 `json:"cpu_ci95_lo"`
	CPUHi  float64 `json:"cpu_ci95_hi"`
}

// result is one row of the table.
type result struct {
	Row        string          `json:"row"`
	Threads    int             `json:"threads"`
	Skipped    string          `json:"skipped,omitempty"` // why the row has no figures
	Timings    []timing        `json:"timings,omitempty"`
	Ratios     []ratio         `json:"ratios,omitempty"`
	Roofline   float64         `json:"roofline_share,omitempty"` // of this machine's peak, 0 = not known
	Bandwidth  bool            `json:"roofline_is_bandwidth,omitempty"`
	Copying    bool            `json:"roofline_is_copying,omitempty"` // the bandwidth is that of copying, not of reading
	RoofLo     float64         `json:"roofline_ci95_lo,omitempty"`    // of the share of the bandwidth
	RoofHi     float64         `json:"roofline_ci95_hi,omitempty"`
	RoofMin    float64         `json:"roofline_of_minima,omitempty"`
	Multiplies float64         `json:"int8_peak_share,omitempty"` // of a product in digits
	MACs       int64           `json:"macs,omitempty"`
	Elsewhere  string          `json:"elsewhere,omitempty"`  // why this host is not the one that the row is about; it then has no figures
	Difference float64         `json:"max_difference"`       // max|native - ort| / max|ort| over the outputs
	Cosine     float64         `json:"cosine,omitempty"`     // of the native outputs to those of ONNX Runtime on the float model; rows with less than float32
	CosineORT  float64         `json:"ort_cosine,omitempty"` // the same of ONNX Runtime's
	Goal       goal            `json:"goal,omitzero"`
	Verdict    string          `json:"verdict,omitempty"`
	Note       string          `json:"note,omitempty"`
	Rounds     int             `json:"rounds"`
	Discarded  int             `json:"discarded"`
	Dirty      int             `json:"dirty"` // rounds that count although others used the machine
	Foreign    float64         `json:"foreign_cpus"`
	Profile    []engine.OpTime `json:"profile,omitempty"`
}

func (b *bench) close() {
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}

// file returns the path of the row's model, written once.
func (b *bench) file(ctx context.Context, r row) (string, error) {
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "wattshed-bench-")
		if err != nil {
			return "", err
		}
		b.dir, b.files = dir, map[string]string{}
	}
	key := fmt.Sprint(r.model, r.int8, r.static, r.bf16)
	if p := b.files[key]; p != "" {
		return p, nil
	}
	p, err := r.model.open(b.assets, b.dir)
	if err == nil && r.int8 {
		p, err = quantized(p, b.dir)
	}
	if err == nil && r.bf16 {
		p, err = rounded(p, b.dir)
	}
	if err == nil && r.static {
		p, err = staticallyQuantized(ctx, p, b.dir, r.feed)
	}
	if err != nil {
		return "", err
	}
	b.files[key] = p
	return p, nil
}

// nativeFloat names the native engine on the float model of a quantized row.
const nativeFloat = "native fp32"

// contenders are both runtimes at their defaults and, with more than one thread, both without spinning: a single thread has none to wait for.
func (b *bench) contenders(r row) []*contender {
	o := engine.Options{Threads: r.threads}
	cs := []*contender{{name: "native", runtime: engine.Native{}, options: o}, {name: "ort", runtime: b.ort, options: o}}
	if r.threads > 1 {
		o.Spin = -1
		cs = append(cs, &contender{name: "native, no spin", runtime: engine.Native{}, options: o},
			&contender{name: "ort, no spin", runtime: b.ort, options: o})
	}
	return cs
}

// row measures one row.
func (b *bench) row(ctx context.Context, r row) (*result, error) {
	if r.elsewhere != nil {
		if why := r.elsewhere(); why != "" {
			return &result{Row: r.name, Threads: r.threads, Goal: r.goal, Elsewhere: why}, nil
		}
	}
	if r.training {
		return b.trainingRow(ctx, r)
	}
	path, err := b.file(ctx, r)
	if err != nil {
		return nil, err
	}
	feed := r.feed(rand.New(rand.NewPCG(b.seed, 0)))
	cs := b.contenders(r)
	defer func() {
		for _, c := range cs {
			if c.session != nil {
				c.session.Close() // what is bound too
			}
		}
	}()
	if cs, err = b.floats(ctx, r, cs); err != nil {
		return nil, err
	}
	art := engine.Artifact{Path: path}
	outs, err := loadAll(ctx, cs, art, feed)
	if err != nil {
		return nil, err
	}
	if !r.load {
		if err := bindAll(cs, feed); err != nil {
			return nil, err
		}
	}
	if r.model.gemv > 0 {
		if cs, err = b.addReader(ctx, art, feed, cs); err != nil {
			return nil, err
		}
	}
	if r.model.move > 0 {
		if cs, err = b.addCopier(ctx, r, cs); err != nil {
			return nil, err
		}
	}
	res := &result{Row: r.name, Threads: r.threads, Goal: r.goal, Copying: r.model.move > 0}
	if res.Difference, err = difference(outs[0], outs[1]); err != nil {
		return nil, err
	}
	if err := b.cosines(ctx, r, feed, outs, res); err != nil {
		return nil, err
	}
	if r.load {
		for _, c := range cs {
			c.session.Close()
			c.session = nil
		}
	}
	work := func(c *contender) error {
		if c.bound != nil {
			return c.bound.Run(ctx)
		}
		if !r.load {
			_, err := c.session.Run(ctx, feed)
			return err
		}
		s, err := c.runtime.Load(ctx, art, c.options)
		if err != nil {
			return err
		}
		_, err = s.Run(ctx, feed)
		s.Close()
		return err
	}
	for _, c := range cs {
		if c.calls, err = b.calibrate(c, work); err != nil {
			return nil, err
		}
	}
	if err := b.roundsOf(ctx, r, cs, work, res); err != nil {
		return nil, err
	}
	switch {
	case r.model.gemv > 0 || r.model.move > 0:
		if err := b.bandwidth(r, cs, res); err != nil {
			return nil, err
		}
	case !r.load:
		if err := b.roofline(ctx, r, art, feed, cs[0], res); err != nil {
			return nil, err
		}
	}
	return res, b.summarise(cs, res)
}

// floats gives a row of static weights the native runtime on the float model too, and one of bfloat16 ONNX Runtime on the float model.
func (b *bench) floats(ctx context.Context, r row, cs []*contender) ([]*contender, error) {
	if !r.static && !r.bf16 {
		return cs, nil
	}
	static := r.static
	r.static, r.bf16 = false, false
	path, err := b.file(ctx, r)
	if err != nil {
		return cs, err
	}
	if static {
		return append(cs, &contender{name: cs[0].name, runtime: cs[0].runtime, options: cs[0].options},
			&contender{name: nativeFloat, runtime: cs[0].runtime, options: cs[0].options, path: path}), nil
	}
	for i := 1; i < len(cs); i += 2 {
		cs[i].path = path
	}
	return cs, nil
}

// loadAll loads all contenders, those without a path of their own from art, and returns what each makes of the input.
func loadAll(ctx context.Context, cs []*contender, art engine.Artifact, feed engine.Feed) (outs []engine.Feed, err error) {
	for _, c := range cs {
		a := art
		if c.path != "" {
			a.Path = c.path
		}
		if c.session, err = c.runtime.Load(ctx, a, c.options); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		out, err := c.session.Run(ctx, feed)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		outs = append(outs, out)
	}
	return outs, nil
}

// calibrate returns the number of calls that fill a sample, after a warm-up of the same length.
func (b *bench) calibrate(c *contender, work func(*contender) error) (int, error) {
	n := 1
	for {
		start := time.Now()
		for range n {
			if err := work(c); err != nil {
				return 0, err
			}
		}
		t := time.Since(start)
		if t >= b.sample/2 {
			return max(1, int(math.Ceil(float64(n)*float64(b.sample)/float64(t)))), nil
		}
		n *= 2
	}
}

// roundsOf runs every contender once per round, in random order, until there are enough rounds that count.
func (b *bench) roundsOf(ctx context.Context, r row, cs []*contender, work func(*contender) error, res *result) error {
	rng := rand.New(rand.NewPCG(b.seed, 1))
	type sample struct{ wall, cpu []float64 }
	var foreigns []float64
	rounds := b.rounds * max(1, r.times)
	for try := 0; res.Rounds < rounds; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		sm := sample{make([]float64, len(cs)), make([]float64, len(cs))}
		before := b.usage()
		for _, i := range rng.Perm(len(cs)) {
			var err error
			if sm.wall[i], sm.cpu[i], err = b.one(cs[i], work); err != nil {
				return err
			}
		}
		f := b.usage().foreign(before)
		last := try >= rounds*(b.tries-1) // the tries that are left are all needed
		if f > b.foreign && !last {
			res.Discarded++
			continue
		}
		if f > b.foreign {
			res.Dirty++
		}
		foreigns = append(foreigns, f)
		res.Rounds++
		for i, c := range cs {
			c.wall, c.cpu = append(c.wall, sm.wall[i]), append(c.cpu, sm.cpu[i])
		}
	}
	res.Foreign = median(foreigns)
	return nil
}

// one is one sample: seconds per call on the clock and of CPU.
func (b *bench) one(c *contender, work func(*contender) error) (wall, cpu float64, err error) {
	if !quiet() {
		b.report.Restless++
	}
	if c.session != nil {
		if err := work(c); err != nil { // threads awake, caches warm
			return 0, 0, err
		}
	}
	cpu0, _ := b.spent()
	start := time.Now()
	for range c.calls {
		if err := work(c); err != nil {
			return 0, 0, err
		}
	}
	wall = time.Since(start).Seconds() / float64(c.calls)
	cpu1, _ := b.spent()
	return wall, (cpu1 - cpu0).Seconds() / float64(c.calls), nil
}

// used is the CPU time of this process and of the machine at one moment.
type used struct {
	at        time.Time
	host, own time.Duration
	known     bool
}

// spent is the CPU time of this process and of its helper.
func (b *bench) spent() (time.Duration, error) {
	own, err := measure.ProcessCPU()
	if b.helper != nil {
		own += b.helper()
	}
	return own, err
}

func (b *bench) usage() used {
	host, err := measure.HostCPUTime()
	own, err2 := b.spent()
	return used{time.Now(), host, own, err == nil && err2 == nil}
}

// foreign returns the CPUs that other processes used since before; 0 where it is not known.
func (u used) foreign(before used) float64 {
	if !u.known || !before.known {
		return 0
	}
	others := (u.host - before.host) - (u.own - before.own)
	return max(0, others.Seconds()/u.at.Sub(before.at).Seconds())
}

// summarise computes medians and ratios: defaults against defaults, no spin against no spin.
func (b *bench) summarise(cs []*contender, res *result) error {
	for _, c := range cs {
		res.Timings = append(res.Timings, timing{Name: c.name, Median: median(c.wall), Min: slices.Min(c.wall), CPU: median(c.cpu), Calls: c.calls, Wall: c.wall})
	}
	for i := 0; i+1 < len(cs); i += 2 {
		n, o := cs[i], cs[i+1]
		w, err := measure.PairedRatio(n.wall, o.wall, measure.BasisWall, b.seed)
		if err != nil {
			return err
		}
		q := ratio{Native: n.name, ORT: o.name, Wall: w.Value, Lo: w.CI95.Lo, Hi: w.CI95.Hi, Min: slices.Min(o.wall) / slices.Min(n.wall)}
		if p, err := measure.PairedRatio(n.cpu, o.cpu, measure.BasisCPUTime, b.seed); err == nil {
			q.CPU, q.CPULo, q.CPUHi = p.Value, p.CI95.Lo, p.CI95.Hi
			q.CPUMin = slices.Min(o.cpu) / slices.Min(n.cpu)
		}
		res.Ratios = append(res.Ratios, q)
	}
	return nil
}

// roofline runs the model once more with a profile: the time that the multiply-adds of one call take at the peak of all
// threads, as a share of the least time measured.
func (b *bench) roofline(ctx context.Context, r row, art engine.Artifact, feed engine.Feed, c *contender, res *result) error {
	o := c.options
	o.Profile = true
	s, err := engine.Native{}.Load(ctx, art, o)
	if err != nil {
		return err
	}
	defer s.Close()
	for range 2 + min(c.calls, 50) {
		if _, err := s.Run(ctx, feed); err != nil {
			return err
		}
	}
	var ideal float64
	prof := s.Profile()
	for _, p := range prof {
		res.MACs += p.MACs
		peak := b.report.F32Flops
		switch {
		case strings.Contains(p.Op, "Quant") || strings.Contains(p.Op, "Integer"):
			peak = b.report.Int8Ops
		case strings.HasSuffix(p.Kernel, "bf16-amx") || strings.HasSuffix(p.Kernel, "bf16-avx512bf16"):
			peak = b.report.BF16Flops
		}
		if peak > 0 {
			ideal += 2 * float64(p.MACs) / peak / float64(r.threads)
		}
	}
	res.Roofline = ideal / slices.Min(c.wall)
	if b.profile {
		res.Profile = prof
	}
	return nil
}
