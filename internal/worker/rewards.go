package worker

import (
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

// rebase lets the paths in a reward's parameters start from base, the folder of the
// recipe: file, dir and memo, and a command that is a path.
func rebase(params map[string]any, base string) map[string]any {
	if base == "" || len(params) == 0 {
		return params
	}
	out := make(map[string]any, len(params))
	join := func(v any) any {
		if s, ok := v.(string); ok && s != "" && !filepath.IsAbs(s) {
			return filepath.Join(base, s)
		}
		return v
	}
	for k, v := range params {
		switch k {
		case "file", "dir", "memo":
			v = join(v)
		case "command":
			if args, ok := v.([]any); ok && len(args) > 0 {
				if s, ok := args[0].(string); ok && strings.ContainsRune(s, filepath.Separator) {
					v = append([]any{join(s)}, args[1:]...)
				}
			}
		case "python":
			if s, ok := v.(string); ok && strings.ContainsRune(s, filepath.Separator) {
				v = join(s)
			}
		}
		out[k] = v
	}
	if _, given := out["dir"]; !given && out["command"] != nil {
		out["dir"] = base
	}
	return out
}

// Rebased returns a domain's rewards with their paths started from base.
func Rebased(specs []grouse.RewardSpec, base string) []grouse.RewardSpec {
	out := make([]grouse.RewardSpec, len(specs))
	for i, s := range specs {
		s.Params = rebase(s.Params, base)
		out[i] = s
	}
	return out
}
