package recipe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/reports"
)

// SearchSchema names the format of search.json.
const SearchSchema = "wattshed.search/1"

// searchName is the file that says how far a search is.
const searchName = "search.json"

// SearchState is the content of search.json, which is written anew after every trial.
type SearchState struct {
	Schema  string   `json:"schema"`
	Budget  []string `json:"budget"`
	Schemes []string `json:"schemes"`
	Units   []unit   `json:"units"`
	Trials  []*Trial `json:"trials"`
	Best    string   `json:"best,omitempty"` // the trial of the least energy within the budget; absent where none is
	Pareto  []string `json:"pareto"`         // trials that no other beats in energy, accuracy and size at once
	Stopped string   `json:"stopped,omitempty"`
	Tried   Tried    `json:"tried"`

	// Winner is the variant of the last measurement with the least energy of those that pass every gate, or, where none does, of those
	// that fail none; Verdict is pass, inconclusive or fail accordingly.
	Winner  string          `json:"winner,omitempty"`
	Verdict reports.Verdict `json:"verdict,omitempty"`
}

// Trial is one mix of schemes and what it showed in a short measurement.
type Trial struct {
	Name     string               `json:"name"`
	Mix      mix                  `json:"mix,omitempty"` // scheme by unit, -1 for float; absent for a variant of the recipe
	Text     string               `json:"description"`
	Made     *made                `json:"made,omitempty"`
	Accuracy *reports.Accuracy    `json:"accuracy,omitempty"`
	Energy   *reports.Ratio       `json:"energy_ratio,omitempty"`
	Basis    string               `json:"energy_basis,omitempty"` // what Energy is: counter, cpu_time, or latency without a meter
	Latency  *reports.Ratio       `json:"latency_ratio,omitempty"`
	Size     float64              `json:"size_ratio,omitempty"`
	Budget   []reports.GateResult `json:"budget,omitempty"`
	Accurate bool                 `json:"accurate"`
	Meets    bool                 `json:"meets"`
	Failed   string               `json:"failed,omitempty"` // why there is no model, or no figure of it
	Seconds  float64              `json:"seconds"`          // that the trial took
}

// searcher is the state of one Search.
type searcher struct {
	*run
	spec     SearchSpec
	state    *SearchState
	gates    reports.Gates
	given    []VariantSpec // of the recipe: trials too
	feeds    engine.Feeds
	want     []engine.Feed
	deadline time.Time
	probe    float64         // seconds that loading the model and running the samples took
	useless  map[[2]int]bool // schemes that change nothing of a unit
}

// Search looks for the mix of the schemes, per weight, that takes the least energy within the recipe's gates, and measures what is on the
// Pareto front of energy, accuracy and size as Run does. The result's variants are those; best is the name of the one that won, "" where
// nothing meets the budget. Every trial is in search.json of the output folder; an interrupted search goes on with Resume.
func Search(ctx context.Context, rec *Recipe, o Options) (res *reports.Result, state *SearchState, err error) {
	s := &searcher{run: newRun(rec, o), useless: map[[2]int]bool{}}
	s.calibrated = map[string]*quantize.Calibration{}
	defer s.close()
	err = s.guarded(func() (err error) { res, err = s.all(ctx, rec); return err })
	return res, s.state, err
}

// all searches, and measures what is left.
func (s *searcher) all(ctx context.Context, rec *Recipe) (res *reports.Result, err error) {
	if rec.Search == nil {
		s.recipe.Search = &SearchSpec{}
		if err := s.recipe.checkSearch(); err != nil {
			return nil, err
		}
	}
	s.spec = *s.recipe.Search
	s.recipe.SHA256 = textDigest("search " + rec.SHA256) // the folder holds no run of the same recipe
	s.room = s.largest
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	s.recipe.SHA256 = rec.SHA256
	s.given, s.recipe.Variants = s.recipe.Variants, nil
	if s.bound.task == nil {
		return nil, fmt.Errorf("recipe: a search needs a task, or inputs that outputs can be compared on")
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if _, done := lookup[string](s.journal, kindSearched, ""); !done {
		if err := s.look(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.whole(); err != nil { // trials are of its weights
		return nil, err
	}
	if lack := s.shortfall(); lack != "" {
		s.warn("%s", lack)
	}
	if res, err = s.measurePareto(ctx); err != nil {
		return nil, err
	}
	s.state.Winner, s.state.Verdict = winner(res)
	return res, s.save()
}

// prepare makes everything that trials share, and reads the finished ones back.
func (s *searcher) prepare(ctx context.Context) error {
	s.gates = s.budget()
	opt := s.options()
	opt.Profile = true
	begin := time.Now()
	native, err := s.opt.Runtimes["native"].Load(ctx, engine.Artifact{Graph: s.src.graph}, opt)
	if err != nil {
		return err
	}
	defer native.Close()
	feeds := task.Feeds(s.bound.inputs, 1)
	s.feeds = firstFeeds(feeds, min(s.spec.Samples, feeds.N))
	if s.want, err = s.outputs(ctx, native, s.feeds); err != nil {
		return err
	}
	if s.probe, err = remember(s.journal, kindProbe, "", func() (float64, error) { return time.Since(begin).Seconds(), nil }); err != nil {
		return err
	}
	units, err := unitsOf(s.src.graph, native.Profile(), s.feeds, s.spec.Units)
	if err != nil {
		return err
	}
	// Times differ from process to process: those of the first one decide, so that a resumed search repeats its decisions.
	shares, err := remember(s.journal, kindShares, "", func() (list []float64, err error) {
		for _, u := range units {
			list = append(list, u.Share)
		}
		return list, nil
	})
	if err != nil {
		return err
	}
	for i := range units {
		if i < len(shares) {
			units[i].Share = shares[i]
		}
	}
	s.state = &SearchState{Schema: SearchSchema, Schemes: s.spec.schemeNames(), Units: units}
	for _, r := range s.gates.Rules {
		s.state.Budget = append(s.state.Budget, r.String())
	}
	if len(s.state.Units) == 0 {
		return fmt.Errorf("recipe: model %q has no weights that a scheme could change", s.src.name)
	}
	for n := 0; ; n++ {
		t, ok := lookup[*Trial](s.journal, kindTrial, fmt.Sprint(n))
		if !ok {
			break
		}
		s.state.Trials = append(s.state.Trials, t)
	}
	s.state.Stopped, _ = lookup[string](s.journal, kindSearched, "")
	return s.save()
}

// budget is what trials are judged by: the recipe's gates, with one for the accuracy where there is none.
func (s *searcher) budget() reports.Gates {
	if named := s.recipe.Judged.Variants; named != nil {
		s.warn("gates.%s [%s] has no say in a search: those that it measures at the end are judged, whatever their names, and one that passes is enough", gateVariants, strings.Join(named, ", "))
		s.recipe.Judged.Variants = nil
	}
	g := s.recipe.Judged
	g.AllowModelled = true // to rank trials; the last word respects the recipe
	g.Rules = slices.Clone(g.Rules)
	if !slices.ContainsFunc(g.Rules, func(r reports.Gate) bool { return r.Key == "accuracy_drop" || r.Key == "accuracy" }) {
		rule := reports.Gate{Key: "accuracy_drop", Op: "<=", Limit: 0.01}
		g.Rules = append(g.Rules, rule)
		s.recipe.Judged.Rules = append(slices.Clone(s.recipe.Judged.Rules), rule)
		s.warn("the recipe limits no accuracy: %s was taken", rule)
	}
	return g
}

// look makes trials until the search ends or its time is over. The order of trials follows from what earlier ones showed, which the
// journal keeps, so that a resumed search repeats the decisions and not the work.
func (s *searcher) look(ctx context.Context) error {
	s.deadline = time.Now().Add(time.Duration((s.spec.MaxSeconds - s.spent()) * float64(time.Second)))
	n := 0
	next := func(v VariantSpec, m mix, text string) (*Trial, error) {
		t, err := s.trialOf(ctx, n, v, m, text)
		n++
		return t, err
	}
	for _, v := range s.given {
		if _, err := next(v, nil, "of the recipe"); err != nil {
			return err
		}
	}
	var best *Trial
	var start mix
	ratio := make([]float64, len(s.spec.Schemes))
	whole := make([]*Trial, len(s.spec.Schemes)) // with every unit in the scheme
	for k, name := range s.state.Schemes {
		ratio[k] = 1
		m := s.uniform(k)
		v := s.variantOf(m, s.free(name))
		t := s.tried(v)
		if t == nil {
			var err error
			if t, err = next(v, m, mixText(s.state.Schemes, m)); err != nil {
				return err
			}
		}
		if whole[k] = t; t.Failed != "" || t.Energy == nil {
			continue
		}
		ratio[k] = s.schemeRatio(t)
		if best == nil || t.Energy.Value < best.Energy.Value {
			best, start = t, m
		}
	}
	if best == nil {
		return s.stop("no scheme could be applied")
	}
	g := &greedy{ratio: ratio, left: func() bool { return time.Now().Before(s.deadline) && n < s.spec.MaxTrials && ctx.Err() == nil }}
	for _, u := range s.state.Units {
		g.share = append(g.share, u.Share)
	}
	g.can = func(u, k int) bool { return !s.useless[[2]int{u, k}] && ratio[k] < 1 }
	g.harm = func(_ mix, u, k int) (float64, error) { return s.harm(ctx, u, k) }
	g.try = func(m mix) (outcome, error) {
		if countOf(m, keepFloat) == len(m) {
			return outcome{accurate: true, energy: 1}, nil // the baseline itself
		}
		if k := m[0]; k >= 0 && countOf(m, k) == len(m) {
			return whole[k].outcome(), nil
		}
		for _, t := range s.state.Trials[:min(n, len(s.state.Trials))] {
			if t.Mix != nil && slices.Equal(t.Mix, m) {
				return t.outcome(), nil
			}
		}
		t, err := next(s.variantOf(m, s.free(fmt.Sprintf("mix-%d", n+1))), m, mixText(s.state.Schemes, m))
		if err != nil {
			return outcome{}, err
		}
		return t.outcome(), nil
	}
	if _, _, _, err := g.search(start, best.outcome()); err != nil && !errors.Is(err, errOver) {
		return err
	}
	if err := canceled(ctx, "search"); err != nil {
		return err // what is left of the search is done when it is resumed
	}
	why := "no step is left"
	switch {
	case n >= s.spec.MaxTrials:
		why = fmt.Sprint(n) + endedByTrials
	case !time.Now().Before(s.deadline):
		why = fmt.Sprint(s.spec.MaxSeconds) + endedByTime
	}
	return s.stop(why)
}

// errOver ends a search whose time is over.
var errOver = errors.New("the time is over")

func (s *searcher) stop(why string) error {
	s.state.Stopped = why
	if err := s.journal.put(kindSearched, "", why); err != nil {
		return err
	}
	return s.save()
}

// tried is the trial of a variant of the recipe that is made in the same way as v, nil where none is.
func (s *searcher) tried(v VariantSpec) *Trial {
	for i, g := range s.given {
		if i < len(s.state.Trials) && reflect.DeepEqual(g.Stages, v.Stages) {
			return s.state.Trials[i]
		}
	}
	return nil
}

// uniform gives every unit scheme k.
func (s *searcher) uniform(k int) mix {
	m := make(mix, len(s.state.Units))
	for u := range m {
		m[u] = k
	}
	return m
}

// schemeRatio is the energy of the changed units against float: the rest of the model takes what it took.
func (s *searcher) schemeRatio(t *Trial) float64 {
	touched := 0.0
	for _, u := range s.state.Units {
		touched += u.Share
	}
	if touched <= 0 {
		return t.Energy.Value
	}
	return max(1-(1-t.Energy.Value)/touched, 0.01)
}

// free is a name that no trial has.
func (s *searcher) free(name string) string {
	taken := func(n string) bool {
		return slices.ContainsFunc(s.given, func(v VariantSpec) bool { return v.Name == n })
	}
	for base, i := name, 2; taken(name); i++ {
		name = fmt.Sprintf("%s-%d", base, i)
	}
	return name
}

func (s *searcher) variantOf(m mix, name string) VariantSpec {
	return VariantSpec{Name: name, Stages: s.spec.stages(s.state.Units, m)}
}

// spent is the seconds that trials and harms took before this process.
func (s *searcher) spent() float64 {
	n, mean := s.harms()
	sum := float64(n) * mean
	for _, t := range s.state.Trials {
		sum += t.Seconds
	}
	return sum
}

// harmOf is what a unit under a scheme does to the outputs: the power of their error relative to their own; nil where the scheme changes
// nothing of the unit or cannot be applied to it.
type harmOf struct {
	Power   *float64 `json:"power,omitempty"`
	Seconds float64  `json:"seconds"`
}

// harm is the power of the error of the outputs, relative to that of the outputs, when unit u alone takes scheme k; infinite
// where the scheme changes nothing of it.
func (s *searcher) harm(ctx context.Context, u, k int) (float64, error) {
	h, err := remember(s.journal, kindHarm, fmt.Sprintf("%d/%d", u, k), func() (h harmOf, err error) {
		if err := canceled(ctx, "search"); err != nil {
			return h, err
		}
		begin := time.Now()
		if !begin.Before(s.deadline) {
			return h, errOver
		}
		s.progress(fmt.Sprintf("harm of %s as %s", s.state.Units[u].Name, s.state.Schemes[k]), 0, 0)
		h.Power, err = s.noise(ctx, u, k)
		if err != nil && ctx.Err() == nil {
			s.warn("search: %s cannot take %s: %v", s.state.Units[u].Name, s.state.Schemes[k], err)
			h.Power, err = nil, nil
		}
		h.Seconds = time.Since(begin).Seconds()
		return h, err
	})
	if err != nil {
		return 0, err
	}
	if h.Power == nil {
		s.useless[[2]int{u, k}] = true
		return math.Inf(1), nil
	}
	return *h.Power, nil
}

// noise measures a harm; nil where the scheme changes nothing.
func (s *searcher) noise(ctx context.Context, u, k int) (*float64, error) {
	session, err := s.alone(ctx, s.spec, s.state.Units, u, k)
	if session == nil || err != nil {
		return nil, err
	}
	defer session.Close()
	got, err := s.outputs(ctx, session, s.feeds)
	if err != nil {
		return nil, err
	}
	db, _, err := quantize.OutputNoise(s.src.graph, s.want, got)
	if math.IsNaN(db) || db < -200 {
		db = -200 // no number, or no finite one, comes out: as harmful as can be
	}
	power := math.Pow(10, -db/10)
	return &power, err
}
