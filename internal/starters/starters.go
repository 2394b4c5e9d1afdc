// Package starters holds the rewards that `grouse reward new` writes: for each form that
// a reward of one's own can have, a working one with its test and some cases.
package starters

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/grouse-rl/grouse"
)

//go:embed all:_templates
var templates embed.FS

const root = "_templates"

// Kinds are the forms there are.
var Kinds = []string{"python", "verl", "exec", "http", "activity", "go", "wasm"}

// nameForm is what a module's or function's name may be in all languages.
var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,40}$`)

// Write makes the folder dir with a reward of a kind and returns its files, relative to
// dir. A file that is there already is left alone, and an error.
func Write(dir, kind, name string) ([]string, error) {
	if !nameForm.MatchString(name) {
		return nil, grouse.Errorf(grouse.Invalid, "name %q", name).WithFix("use small letters, digits and _: my_reward")
	}
	entries, err := templates.ReadDir(path.Join(root, kind))
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "unknown kind %q", kind).WithFix("use one of %s", strings.Join(Kinds, ", "))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "%w", err)
	}
	sources := []string{path.Join(root, "cases.jsonl")}
	for _, e := range entries {
		sources = append(sources, path.Join(root, kind, e.Name()))
	}
	var written []string
	for _, source := range sources {
		data, err := templates.ReadFile(source)
		if err != nil {
			return written, err
		}
		file := strings.TrimSuffix(strings.ReplaceAll(path.Base(source), "NAME", name), ".txt")
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(string(data), "#!") {
			mode = 0o755
		}
		f, err := os.OpenFile(filepath.Join(dir, file), os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return written, grouse.Errorf(grouse.Invalid, "%w", err).WithFix("give another --dir, or remove the file")
		}
		_, err = f.WriteString(strings.ReplaceAll(string(data), "NAME", name))
		if err := errors.Join(err, f.Close()); err != nil {
			return written, err
		}
		written = append(written, file)
	}
	return written, nil
}
