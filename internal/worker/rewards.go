package worker

import (
	"maps"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/builtin"
)

// Rewards returns the rewards of a program that runs grouse: the built-in ones, with
// a local checkpoint and people as judges, and those of a user's Temporal worker. home
// is $GROUSE_HOME; c is nil where there is no Temporal, and then they can be listed
// and checked but do not judge.
func Rewards(home string, c client.Client) *rewards.Registry {
	r := builtin.With(judges(home))
	err := r.Add(rewards.Entry{Name: "activity", Deadline: 5 * time.Minute, New: func(params map[string]any) (rewards.Reward, error) { return newRemote(c, params) },
		Doc:   "an activity of your own Temporal worker, in any SDK, on the queue grouse-reward-NAME",
		Usage: "{use: activity, worker: NAME, type: judge, attempts: 3, heartbeat_s: 0}"})
	if err != nil {
		panic(err) // the name is taken: a mistake in the list of built-in rewards
	}
	return r
}

// paths are the parameters of rewards that hold paths on this machine.
var paths = map[string][]string{
	"python": {"file", "python"}, "exec": {"command", "dir"}, "wasm": {"file"}, "rubric": {"memo"},
}

// rebase lets the paths in a reward's parameters start from base, the folder of the
// recipe. A program is a path if it has a separator in it.
func rebase(use string, params map[string]any, base string) map[string]any {
	if base == "" || paths[use] == nil {
		return params
	}
	out := maps.Clone(params)
	join := func(v any) any {
		if s, ok := v.(string); ok && s != "" && !filepath.IsAbs(s) {
			return filepath.Join(base, s)
		}
		return v
	}
	program := func(v any) any {
		if s, ok := v.(string); ok && strings.ContainsRune(s, filepath.Separator) {
			return join(s)
		}
		return v
	}
	for _, key := range paths[use] {
		switch v := out[key].(type) {
		case nil:
			if key == "dir" { // where the command finds its files
				if out == nil {
					out = map[string]any{}
				}
				out[key] = base
			}
		case []any:
			if len(v) > 0 {
				out[key] = append([]any{program(v[0])}, v[1:]...)
			}
		default:
			if out[key] = join(v); key == "python" {
				out[key] = program(v)
			}
		}
	}
	return out
}

// Rebased returns a domain's rewards with their paths started from base.
func Rebased(specs []grouse.RewardSpec, base string) []grouse.RewardSpec {
	out := make([]grouse.RewardSpec, len(specs))
	for i, s := range specs {
		s.Params = rebase(s.Use, s.Params, base)
		out[i] = s
	}
	return out
}
