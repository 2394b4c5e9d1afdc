package natsbus

import (
	"regexp"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Kinds of payload.
const (
	Rollouts = "rollouts"
	Scores   = "scores"
)

var keyPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}(/[a-z0-9_-]{1,64}){3}$`)

// Key joins the parts of a key. kind is Rollouts or Scores; step and shard are
// of [a-z0-9_-]: "1-000003" is step 3 of stage 1.
func Key(run, kind, step, shard string) string {
	return run + "/" + kind + "/" + step + "/" + shard
}

// parts are what a key is made of.
type parts struct{ run, kind, step, shard string }

func parse(key string) (parts, error) {
	if !keyPattern.MatchString(key) {
		return parts{}, grouse.Errorf(grouse.Invalid, "bus key %q is not <run>/<kind>/<step>/<shard> of [a-z0-9_-]", key)
	}
	p := strings.Split(key, "/")
	return parts{p[0], p[1], p[2], p[3]}, nil
}

func (p parts) subject() string {
	return strings.Join([]string{"grouse", p.run, p.kind, p.step, p.shard}, ".")
}

func streamName(run string) string { return "grouse-" + run }
