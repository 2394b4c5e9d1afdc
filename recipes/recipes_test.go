package recipes_test

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/recipes"
	"github.com/grouse-rl/grouse/rewards/builtin"
)

var command = regexp.MustCompile(`(?m)^grouse run (\S+)(.*)$`)

// Every recipe resolves, names rewards that exist with parameters they accept,
// and every `grouse run` line of its README gives settings that are accepted.
func TestRecipesAndTheirReadmes(t *testing.T) {
	names := config.List()
	if len(names) < 9 {
		t.Fatalf("only %v", names)
	}
	for _, name := range names {
		readme, err := fs.ReadFile(recipes.FS, name+"/README.md")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		commands := [][]string{{"", name, ""}}
		for _, c := range command.FindAllStringSubmatch(string(readme), -1) {
			if !slices.Contains(names, c[1]) {
				t.Errorf("%s: its README runs %s", name, c[1])
			}
			commands = append(commands, c)
		}
		if name != "quickstart" && len(commands) < 3 {
			t.Errorf("%s: its README shows %d commands", name, len(commands)-1)
		}
		for _, c := range commands {
			var set []string
			for _, word := range strings.Split(c[2], "--set ")[1:] {
				set = append(set, strings.TrimSpace(word))
			}
			r, err := config.Load(c[1], config.Options{Set: set})
			if err != nil {
				t.Errorf("%s %v: %v (%s)", name, set, err, grouse.FixOf(err))
				continue
			}
			checkRewards(t, r)
		}
	}
}

func checkRewards(t *testing.T, r *config.Resolved) {
	t.Helper()
	registry := builtin.Registry()
	for _, s := range r.Spec.Stages {
		for _, d := range s.Domains {
			for _, w := range d.Rewards {
				if _, err := registry.New(w.Use, w.Params); err != nil {
					t.Errorf("%s: %s: %v", r.Spec.Recipe, d.Name, err)
				}
			}
		}
	}
}
