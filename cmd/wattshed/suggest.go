package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/reports"
)

// didYouMean is a hint at the word of the list that s most likely stands for; "" where none is near.
func didYouMean(s string, words []string) string {
	if near := recipe.Nearest(s, words); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// unknownCommand is the error of a command that there is not.
func unknownCommand(app *cli.App, name string) error {
	if slices.Contains(later, name) {
		return withHint(usagef("command %q: not in this version", name), "wattshed help lists those that are")
	}
	var names []string
	for _, c := range app.VisibleCommands() {
		names = append(names, c.Name)
	}
	hint := "the commands are " + strings.Join(names, ", ")
	if near := didYouMean(name, names); near != "" {
		hint = near + " " + hint
	}
	return withHint(usagef("command %q: unknown", name), hint)
}

// unknownFlag makes a fault of the parser a usage error; of a flag that the command does not have it names the one most like it.
func unknownFlag(c *cli.Context, err error, _ bool) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return usagef("%s", oneDash.ReplaceAllStringFunc(err.Error(), func(s string) string {
			before, flag, _ := strings.Cut(s, " -")
			return before + " " + dashed(flag)
		}))
	}
	name = strings.TrimLeft(name, "-")
	flags, help := c.App.VisibleFlags(), "wattshed help"
	if c.Command != nil && len(c.Command.Flags) > 0 {
		flags, help = c.Command.Flags, help+" "+c.Command.Name
	}
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	hint := help
	if near := recipe.Nearest(name, names); near != "" {
		hint += " lists the flags; did you mean " + dashed(near) + "?"
	}
	return withHint(usagef("flag %s: unknown", dashed(name)), hint)
}

// oneDash is a flag in a message of the parser, which writes one dash whatever its name: invalid value "x" for flag -pairs: parse error,
// invalid boolean value "x" for -json: parse error, flag needs an argument: -pairs.
var oneDash = regexp.MustCompile(`(?:" for|" for flag|^flag needs an argument:) -[A-Za-z0-9][A-Za-z0-9-]*`)

func dashed(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

// byFlags words a value that makes no sense by the flag of the command that it was given with, where the command has one, and not by
// its place in a recipe: --learning-rate, not distill.learning_rate. Such an error is one of usage.
// A name of something built in that does not fit is one too.
func byFlags(cmd *cli.Command, err error) error {
	var name *recipe.NameError
	if errors.As(err, &name) {
		return usageError{err}
	}
	path, reason, ok := recipe.FaultOf(err)
	if !ok {
		return err
	}
	_, key, _ := strings.Cut(path, ".")
	if key == "" {
		key = path
	}
	key = strings.NewReplacer("_", "-", ".", "-").Replace(key)
	names := []string{key}
	if path == "distill.student" {
		names = []string{"embedding", "hidden", "student"}
	}
	for i, n := range names {
		if !known(cmd, n) {
			return err
		}
		names[i] = dashed(n)
	}
	said := strings.Replace(err.Error(), path+": "+reason, strings.Join(names, ", ")+": "+reason, 1)
	return withHint(usagef("%s", said), hintOf(err))
}

// versionText is what --version prints: the version, and the commit that the program was built from where it is known.
func versionText(t reports.Tool) string {
	hash, mark, _ := strings.Cut(t.Commit, "+")
	switch hash = hash[:min(len(hash), 12)]; {
	case hash == "":
		return t.Version
	case mark != "":
		return t.Version + " (commit " + hash + ", with " + mark + ")"
	}
	return t.Version + " (commit " + hash + ")"
}
