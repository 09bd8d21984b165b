package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// completions are the scripts by shell; each asks the program itself for the words.
var completions = map[string]string{
	"bash": `_wattshed() {
  local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ $cur == -* ]] && words+=("$cur")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _wattshed wattshed
`,
	"zsh": `#compdef wattshed
_wattshed() {
  local -a words_
  words_=("${(@f)$("${words[@]:0:$CURRENT-1}" --generate-bash-completion 2>/dev/null)}")
  _describe 'wattshed' words_ || _files
}
compdef _wattshed wattshed
`,
	"fish": `complete -c wattshed -a '(set -l t (commandline -opc); $t --generate-bash-completion 2>/dev/null)'
`,
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the completion script of a shell", ArgsUsage: "bash|zsh|fish",
		Description: "Example: source <(wattshed completion bash)",
		Action: func(c *cli.Context) error {
			shell, err := one(c, "SHELL")
			if err != nil {
				return err
			}
			script, ok := completions[shell]
			if !ok {
				return usagef("SHELL: %q: want bash, zsh or fish", shell)
			}
			_, err = fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
