package recipe

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Names of what is built in.
const (
	builtinMark  = "builtin:"
	builtinModel = "builtin:spam-lstm"
	builtinData  = "builtin:spam"
)

// What is wanted where a name stands.
const (
	wantModel = "model"
	wantData  = "data"
	wantFile  = "file" // nothing built in
)

// builtins are what is built in by its name: the file it lies in, below the folder of test data, for what is wanted.
var builtins = map[string]map[string]string{
	wantModel: {builtinModel: "spam/model.onnx.zst"},
	wantData: {builtinData: "spam/test.jsonl.zst", builtinData + "/test": "spam/test.jsonl.zst", builtinData + "/train": "spam/train.jsonl.zst",
		builtinData + "/validation": "spam/validation.jsonl.zst"},
}

// NameError is a name of something built in that does not fit where it stands: Want is "model", "data" or, where nothing built in is taken,
// "file".
type NameError struct{ Want, Name string }

// Error says what is wrong with the name, and names all that is built in.
func (e *NameError) Error() string {
	why := "nothing built in is called so"
	switch {
	case e.Want == wantFile:
		why = "a file is wanted here, and nothing built in"
	case e.Want == wantModel && builtins[wantData][e.Name] != "":
		why = "is data, and no model"
	case e.Want == wantData && builtins[wantModel][e.Name] != "":
		why = "is a model, and no data"
	}
	return fmt.Sprintf("recipe: %s %q: %s; built in are the model %s and the data %s", e.Want, e.Name, why, builtinModel, strings.Join(names(wantData), ", "))
}

// Known are the names that fit.
func (e *NameError) Known() []string { return names(e.Want) }

func names(want string) []string { return slices.Sorted(maps.Keys(builtins[want])) }

// builtinFile returns the file of what is built in by the name, "" for a name of something that is not built in, or a NameError.
func builtinFile(want, name string) (string, error) {
	if !strings.HasPrefix(name, builtinMark) {
		return "", nil
	}
	if f := builtins[want][name]; f != "" {
		return f, nil
	}
	return "", &NameError{want, name}
}

// FileOnly returns a NameError for the name of something built in, or of nothing that is, where a command takes files.
func FileOnly(name string) error {
	_, err := builtinFile(wantFile, name)
	return err
}
