package reports

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// CycloneDX writes an ML-BOM of CycloneDX 1.6: one machine-learning-model component per variant with
// its hash, its ancestor, its metrics with intervals, and the energy of making it and of one
// inference. The format knows only kWh and tonnes: exact joules, kind and interval stand in
// properties named wattshed:*. The serial number is a hash of the result, so the bytes repeat.
// Source: bom-1.6.schema.json, modelCard and environmentalConsiderations.
func CycloneDX(w io.Writer, r *Result) error {
	var id bytes.Buffer
	if err := JSON(&id, r); err != nil { // validates
		return err
	}
	sum := sha256.Sum256(id.Bytes())
	sum[6], sum[8] = sum[6]&0x0F|0x80, sum[8]&0x3F|0x80 // RFC 9562, version 8
	h := hex.EncodeToString(sum[:16])
	bom := cdxBOM{Format: "CycloneDX", Spec: "1.6", Version: 1, Components: []cdxComponent{},
		Serial: "urn:uuid:" + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]}
	bom.Metadata.Tools.Components = []cdxComponent{{Type: "application", Name: cmp.Or(plain(r.Tool.Name), "wattshed"), Version: plain(r.Tool.Version)}}
	if !r.Finished.IsZero() {
		bom.Metadata.Timestamp = r.Finished.UTC().Format(time.RFC3339)
	}
	for i := range r.Variants {
		bom.Components = append(bom.Components, cdxModel(r, i))
	}
	b, err := json.MarshalIndent(bom, "", "  ")
	if err != nil {
		return fmt.Errorf("reports: cyclonedx: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

func cdxModel(r *Result, i int) cdxComponent {
	v := &r.Variants[i]
	name := "model"
	if r.Model != nil {
		name = cmp.Or(plain(r.Model.Name), plain(r.Model.Path), name)
	}
	c := cdxComponent{Type: "machine-learning-model", Ref: fmt.Sprintf("variant-%d", i), Name: name + " " + plain(v.Name), Hashes: cdxHashes(v.File)}
	if i > 0 {
		base := cdxComponent{Type: "machine-learning-model", Name: name + " " + plain(r.Variants[0].Name), Hashes: cdxHashes(r.Variants[0].File)}
		c.Pedigree = &cdxPedigree{Ancestors: []cdxComponent{base}}
	}
	for _, s := range v.Stages {
		c.Properties = append(c.Properties, cdxProperty{"wattshed:stage", stageWords(s)})
	}
	card := &cdxCard{}
	add := func(typ string, x float64, ci *Interval) {
		m := cdxMetric{Type: typ, Value: decimal(x)}
		if ci != nil {
			m.CI = &cdxCI{decimal(ci[0]), decimal(ci[1])}
		}
		card.Analysis.Metrics = append(card.Analysis.Metrics, m)
	}
	if a := v.Accuracy; a != nil {
		add(plain(a.Metric), a.Value, a.CI95)
	}
	if l := v.Latency; l != nil {
		add("latency_p50_s", l.P50, l.CI95)
	}
	if e := v.Energy; e != nil && e.PerInference != nil {
		add("energy_per_inference_j", *e.PerInference, e.CI95)
	}
	card.energy(v)
	if len(card.Analysis.Metrics) > 0 || card.Considerations != nil {
		c.Card = card
	}
	return c
}

// energy adds what making the variant took and what one inference takes.
func (c *cdxCard) energy(v *Variant) {
	grid := "unknown"
	if v.Carbon != nil && v.Carbon.Intensity != nil && v.Carbon.Intensity.Zone != "" {
		grid = "grid of " + plain(v.Carbon.Intensity.Zone)
	}
	add := func(activity string, joules float64, grams *float64, kind string, ci *Interval) {
		kwh := cdxAmount{joules / 3.6e6, "kWh"}
		// A national mix has no single source, so the provider's is unknown.
		e := cdxEnergy{Activity: activity, Cost: kwh, Providers: []cdxProvider{{cdxOrganization{grid}, "unknown", kwh}}}
		if grams != nil {
			e.CO2 = &cdxAmount{*grams / 1e6, "tCO2eq"}
		}
		e.Properties = append(e.Properties, cdxProperty{"wattshed:energy:joules", decimal(joules)})
		if kind != "" {
			e.Properties = append(e.Properties, cdxProperty{"wattshed:energy:kind", plain(kind)})
		}
		if ci != nil {
			e.Properties = append(e.Properties, cdxProperty{"wattshed:energy:ci95_low", decimal(ci[0])}, cdxProperty{"wattshed:energy:ci95_high", decimal(ci[1])})
		}
		if c.Considerations == nil {
			c.Considerations = &cdxConsiderations{}
		}
		c.Considerations.Environment.Energy = append(c.Considerations.Environment.Energy, e)
	}
	if m := v.Cost; m != nil && m.Joules != nil {
		activity := "other"
		for _, s := range v.Stages {
			if s.Name == "distill" {
				activity = "fine-tuning"
			}
		}
		add(activity, *m.Joules, m.GCO2e, m.Source, nil)
	}
	if e := v.Energy; e != nil && e.PerInference != nil {
		var grams *float64
		if v.Carbon != nil {
			grams = v.Carbon.Operational
		}
		add("inference", *e.PerInference, grams, e.Source, e.CI95)
	}
}

// cdxHashes gives the hash where it is one: the schema wants 64 hexadecimal digits.
func cdxHashes(f *File) []cdxHash {
	if f == nil {
		return nil
	}
	if b, err := hex.DecodeString(f.SHA256); err != nil || len(b) != sha256.Size {
		return nil
	}
	return []cdxHash{{"SHA-256", f.SHA256}}
}

type cdxBOM struct {
	Format   string `json:"bomFormat"`
	Spec     string `json:"specVersion"`
	Serial   string `json:"serialNumber"`
	Version  int    `json:"version"`
	Metadata struct {
		Timestamp string `json:"timestamp,omitempty"`
		Tools     struct {
			Components []cdxComponent `json:"components"`
		} `json:"tools"`
	} `json:"metadata"`
	Components []cdxComponent `json:"components"`
}

type cdxComponent struct {
	Type       string        `json:"type"`
	Ref        string        `json:"bom-ref,omitempty"`
	Name       string        `json:"name"`
	Version    string        `json:"version,omitempty"`
	Hashes     []cdxHash     `json:"hashes,omitempty"`
	Pedigree   *cdxPedigree  `json:"pedigree,omitempty"`
	Properties []cdxProperty `json:"properties,omitempty"`
	Card       *cdxCard      `json:"modelCard,omitempty"`
}

type cdxPedigree struct {
	Ancestors []cdxComponent `json:"ancestors"`
}

type cdxHash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type cdxProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type cdxCard struct {
	Analysis struct {
		Metrics []cdxMetric `json:"performanceMetrics,omitempty"`
	} `json:"quantitativeAnalysis"`
	Considerations *cdxConsiderations `json:"considerations,omitempty"`
}

type cdxMetric struct {
	Type  string `json:"type"`
	Value string `json:"value"`
	CI    *cdxCI `json:"confidenceInterval,omitempty"`
}

type cdxCI struct {
	Low  string `json:"lowerBound"`
	High string `json:"upperBound"`
}

type cdxConsiderations struct {
	Environment struct {
		Energy []cdxEnergy `json:"energyConsumptions"`
	} `json:"environmentalConsiderations"`
}

type cdxEnergy struct {
	Activity   string        `json:"activity"`
	Providers  []cdxProvider `json:"energyProviders"`
	Cost       cdxAmount     `json:"activityEnergyCost"`
	CO2        *cdxAmount    `json:"co2CostEquivalent,omitempty"`
	Properties []cdxProperty `json:"properties,omitempty"`
}

type cdxProvider struct {
	Organization cdxOrganization `json:"organization"`
	Source       string          `json:"energySource"`
	Provided     cdxAmount       `json:"energyProvided"`
}

type cdxOrganization struct {
	Name string `json:"name"`
}

type cdxAmount struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}
