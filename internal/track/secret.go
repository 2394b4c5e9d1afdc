package track

import (
	"os"
	"strings"

	"github.com/grouse-rl/grouse"
)

// secretRef is where a secret is: env:NAME or file:PATH. The secret itself is
// never in a recipe, and read only to be sent.
type secretRef string

func (s secretRef) check(key, example string) error {
	kind, rest, _ := strings.Cut(string(s), ":")
	if s == "" || (kind == "env" || kind == "file") && rest != "" {
		return nil
	}
	return grouse.Errorf(grouse.Invalid, "%s: a secret is named by reference, not written out", key).WithFix("%s: %s, or file:PATH; and if what stands there is a secret, take it for known", key, example)
}

// read returns the secret, "" if there is none.
func (s secretRef) read(run *Run) (string, error) {
	kind, rest, _ := strings.Cut(string(s), ":")
	switch kind {
	case "env":
		return strings.TrimSpace(os.Getenv(rest)), nil
	case "file":
		raw, err := os.ReadFile(run.path(rest))
		if err != nil {
			return "", grouse.Errorf(grouse.Invalid, "secret: %w", err)
		}
		return strings.TrimSpace(string(raw)), nil
	}
	return "", nil
}
