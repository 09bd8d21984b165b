package reports

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for name, r := range map[string]*Result{"demo": demoResult(), "empty": emptyResult()} {
		var a, b bytes.Buffer
		if err := JSON(&a, r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := Load(bytes.NewReader(a.Bytes()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("%s: read back differs", name)
		}
		if err := JSON(&b, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: second writing differs", name)
		}
	}
}

func TestAbsentStaysAbsent(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, emptyResult()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"accuracy", "latency_s", "energy_j", "carbon_g", "memory_bytes", "started", "host"} {
		if strings.Contains(b.String(), `"`+key+`"`) {
			t.Errorf("absent %s was written:\n%s", key, b.String())
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"empty":         {``, "not a result.json"},
		"no schema":     {`{"variants":[]}`, `no "schema" key`},
		"other schema":  {`{"schema":"wattshed.result/2","variants":[]}`, `schema "wattshed.result/2"`},
		"unknown key":   {`{"schema":"wattshed.result/1","variants":[],"energyy":1}`, `unknown field "energyy"`},
		"trailing":      {`{"schema":"wattshed.result/1","variants":[]} {}`, "after top-level value"},
		"twice":         {`{"schema":"wattshed.result/1","variants":[{"name":"a"},{"name":"a"}]}`, "used twice"},
		"no name":       {`{"schema":"wattshed.result/1","variants":[{"name":""}]}`, "no name"},
		"interval":      {`{"schema":"wattshed.result/1","variants":[{"name":"a","accuracy":{"metric":"m","value":1,"n":1,"ci95":[2,1]}}]}`, "variants[0].accuracy.ci95: low 2 above high 1"},
		"negative":      {`{"schema":"wattshed.result/1","variants":[{"name":"a","file":{"path":"p","bytes":-1}}]}`, "variants[0].file.bytes: -1 is negative"},
		"action":        {`{"schema":"wattshed.result/1","variants":[{"name":"a","notes":[{"stage":"prune","weight":"w","action":"eaten"}]}]}`, `action "eaten"`},
		"left, no why":  {`{"schema":"wattshed.result/1","variants":[{"name":"a","notes":[{"stage":"prune","weight":"w","action":"left"}]}]}`, "without a reason"},
		"no source":     {`{"schema":"wattshed.result/1","variants":[{"name":"a","energy_j":{"per_inference":1}}]}`, "without a source"},
		"two stages":    {`{"schema":"wattshed.result/1","variants":[{"name":"a","stages":[{"x":{},"y":{}}]}]}`, "2 keys"},
		"huge number":   {`{"schema":"wattshed.result/1","variants":[{"name":"a","throughput_per_s":1e999}]}`, "1e999"},
		"wrong verdict": {`{"schema":"wattshed.result/1","variants":[],"gates":[{"verdict":"maybe"}]}`, `verdict "maybe"`},
	} {
		_, err := Load(strings.NewReader(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if strings.Contains(name, "schema") && !errors.Is(err, ErrSchema) {
			t.Errorf("%s: %v is not ErrSchema", name, err)
		}
	}
}

func TestNaNRefused(t *testing.T) {
	for want, set := range map[string]func(*Result){
		"variants[1].latency_s.mean":         func(r *Result) { r.Variants[1].Latency.Mean = math.NaN() },
		"variants[2].latency_s.samples[5]":   func(r *Result) { r.Variants[2].Latency.Samples[5] = math.Inf(1) },
		"variants[3].energy_j.per_inference": func(r *Result) { r.Variants[3].Energy.PerInference = ptr(math.Inf(-1)) },
		"variants[1].stages[0].quantize.x":   func(r *Result) { r.Variants[1].Stages[0].Options["x"] = math.NaN() },
		"impact.weights.energy":              func(r *Result) { r.Impact.Weights["energy"] = math.NaN() },
	} {
		r := demoResult()
		set(r)
		var b bytes.Buffer
		err := JSON(&b, r)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
		if b.Len() > 0 {
			t.Errorf("%s: %d bytes written before the error", want, b.Len())
		}
	}
}

func TestJoinNumbers(t *testing.T) {
	in := "{\n \"a\": [\n  1,\n  -2.5e-07\n ],\n \"b\": [\n  \"x[\\n1]\"\n ],\n \"c\": [\n  {\n   \"d\": [\n    3\n   ]\n  }\n ]\n}"
	want := "{\n \"a\": [1, -2.5e-07],\n \"b\": [\n  \"x[\\n1]\"\n ],\n \"c\": [\n  {\n   \"d\": [3]\n  }\n ]\n}"
	if got := string(joinNumbers([]byte(in))); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func FuzzLoad(f *testing.F) {
	var b bytes.Buffer
	if err := JSON(&b, emptyResult()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	r := demoResult()
	for i := range r.Variants {
		r.Variants[i].Latency.Samples = r.Variants[i].Latency.Samples[:2]
	}
	b.Reset()
	if err := JSON(&b, r); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 64<<10 {
			return
		}
		r, err := Load(bytes.NewReader(in))
		if err != nil {
			return
		}
		// Whatever Load accepts, every exporter renders without panic.
		for _, f := range Formats() {
			var out bytes.Buffer
			if err := f.Export(&out, r); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	})
}
