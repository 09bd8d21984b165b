package task

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

func TestReadJSONL(t *testing.T) {
	const text = "\ufeff{\"text\":\"a\",\"label\":\"x\",\"id\":7}\r\n\n  \n{\"label\":true,\"text\":\"\\u00e9 b\",\"more\":[1]}\n{\"text\":\"\",\"label\":1.50}"
	d, err := ReadJSONL(strings.NewReader(text), "n", "text", "label")
	want := []Example{{"7", "a", "x"}, {"", "é b", "true"}, {"", "", "1.50"}}
	if err != nil || !reflect.DeepEqual(d.Examples, want) {
		t.Fatalf("%+v, %v; want %+v", d, err, want)
	}
	sum := sha256.Sum256([]byte(text))
	if d.SHA256 != hex.EncodeToString(sum[:]) {
		t.Error("the digest is not that of the bytes")
	}
	if got := d.Labels(); !reflect.DeepEqual(got, []string{"1.50", "true", "x"}) {
		t.Errorf("labels %q", got)
	}
	if got, err := d.Classes([]string{"x", "true", "1.50"}); err != nil || !reflect.DeepEqual(got, []int{0, 1, 2}) {
		t.Errorf("classes %v, %v", got, err)
	}
	if _, err := d.Classes([]string{"x"}); err == nil || !strings.Contains(err.Error(), `example 2: label "true"`) {
		t.Errorf("unknown label: %v", err)
	}
	if got := d.Texts(); !reflect.DeepEqual(got, []string{"a", "é b", ""}) {
		t.Errorf("texts %q", got)
	}
	if d, err := ReadJSONL(strings.NewReader(`{"text":"a","label":null}`), "n", "text", ""); err != nil || d.Examples[0].Label != "" {
		t.Errorf("labels that nobody asked for: %v", err)
	}
	for in, want := range map[string]string{
		"": "no examples", "\n\n": "no examples", "{": "line 1", "[1]": "line 1", "null": `no field "text"`, "{\"text\":\"a\",\"label\":\"x\"}\n{}": `line 2: no field "text"`,
		`{"text":1,"label":"x"}`: `field "text" is no string`, `{"text":null,"label":"x"}`: `field "text" is no string`, `{"text":"a"}`: `no field "label"`,
		`{"text":"a","label":null}`: `field "label" is no string, number`, `{"text":"a","label":["x"]}`: `field "label"`, `{"text":"a","label":{}}`: `field "label"`,
		"{\"text\":\"a\",\"label\":\"x\"}\n" + strings.Repeat(" ", maxLine+1): "line 2", `{"text":"a","label":"x"} {}`: "line 1",
	} {
		if _, err := ReadJSONL(strings.NewReader(in), "n", "text", "label"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "n:") {
			t.Errorf("%.40q: %v, want %q in it", in, err, want)
		}
	}
}

func TestReadText(t *testing.T) {
	d, err := ReadText(strings.NewReader("\ufeffone\r\n\n  two words \n\t\nlast"), "n")
	if err != nil || !reflect.DeepEqual(d.Texts(), []string{"one", "two words", "last"}) {
		t.Errorf("%q, %v", d.Texts(), err)
	}
	if _, err := ReadText(strings.NewReader(" \n"), "n"); err == nil {
		t.Error("no texts, no error")
	}
}

func FuzzJSONL(f *testing.F) {
	f.Add([]byte(`{"text":"a","label":"x","id":"1"}`+"\n"+`{"text":"b","label":2}`), "text", "label")
	f.Add([]byte("\ufeff{\"text\":\"\\ud800\",\"label\":true}\r\n\x00"), "text", "")
	f.Add([]byte(`{"":"","":[]}`), "", "")
	f.Fuzz(func(t *testing.T, b []byte, text, label string) {
		if len(b) > 64<<10 {
			return
		}
		d, err := ReadJSONL(strings.NewReader(string(b)), "n", text, label)
		if err != nil {
			return
		}
		if len(d.Examples) == 0 || len(d.SHA256) != 64 {
			t.Fatalf("%+v without an error", d)
		}
		classes, err := d.Classes(d.Labels())
		if err != nil || len(classes) != len(d.Examples) {
			t.Fatalf("classes by the data's own labels: %v", err)
		}
		if _, err := ReadText(strings.NewReader(string(b)), "n"); err != nil {
			t.Fatalf("text without lines that was JSON: %v", err)
		}
	})
}
