package main

import (
	"fmt"

	"github.com/grouse-rl/grouse"
)

type completeCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

const commands = "run resume ls show watch logs fork diff pause stop set chat eval generate logprobs export pull audit replay bench recipe reward rescore judge serve worker dashboard doctor version completion"

// Run prints a script: commands first, then names of runs and recipes.
func (c *completeCmd) Run(a *app) error {
	switch c.Shell {
	case "bash":
		fmt.Fprintf(a.stdout, `# source <(grouse completion bash)
_grouse() {
  local cur=${COMP_WORDS[COMP_CWORD]} home=${GROUSE_HOME:-$HOME/.grouse}
  if [ "$COMP_CWORD" = 1 ]; then COMPREPLY=($(compgen -W "%s" -- "$cur")); return; fi
  case ${COMP_WORDS[1]} in
    run) COMPREPLY=($(compgen -W "$(grouse recipe list 2>/dev/null | sed '/^$/,$d' | cut -d' ' -f1)" -f -- "$cur"));;
    resume|show|watch|logs|fork|diff|pause|stop|set|chat|eval|generate|logprobs|export|audit|replay|rescore) COMPREPLY=($(compgen -W "$(ls "$home/runs" 2>/dev/null)" -- "$cur"));;
    *) COMPREPLY=($(compgen -f -- "$cur"));;
  esac
}
complete -o default -F _grouse grouse
`, commands)
	case "zsh":
		fmt.Fprintf(a.stdout, `# source <(grouse completion zsh)
_grouse() {
  local home=${GROUSE_HOME:-$HOME/.grouse}
  if (( CURRENT == 2 )); then compadd %s; return; fi
  case $words[2] in
    run) compadd $(grouse recipe list 2>/dev/null | sed '/^$/,$d' | cut -d' ' -f1); _files;;
    resume|show|watch|logs|fork|diff|pause|stop|set|chat|eval|generate|logprobs|export|audit|replay|rescore) compadd $(ls "$home/runs" 2>/dev/null);;
    *) _files;;
  esac
}
compdef _grouse grouse
`, commands)
	case "fish":
		fmt.Fprintf(a.stdout, `# grouse completion fish | source
complete -c grouse -n __fish_use_subcommand -f -a "%s"
complete -c grouse -n "__fish_seen_subcommand_from run" -a "(grouse recipe list 2>/dev/null | sed '/^\$/,\$d' | cut -d' ' -f1)"
complete -c grouse -n "__fish_seen_subcommand_from resume show watch logs fork diff pause stop set chat eval generate logprobs export audit replay rescore" -f -a "(ls (set -q GROUSE_HOME; and echo $GROUSE_HOME; or echo ~/.grouse)/runs 2>/dev/null)"
`, commands)
	default:
		return grouse.Errorf(grouse.Invalid, "shell %q", c.Shell).WithFix("bash, zsh or fish")
	}
	return nil
}
