// Package arch holds the import rules of ARCHITECTURE.md: who may know whom.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/grouse-rl/grouse"

// imports returns what the non-test files of every package import, by the
// package's folder.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	root := "../.."
	out := map[string]map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "scratch") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		dir = filepath.ToSlash(dir)
		if out[dir] == nil {
			out[dir] = map[string]bool{}
		}
		for _, i := range f.Imports {
			out[dir][strings.Trim(i.Path.Value, `"`)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	lists := map[string][]string{}
	for dir, set := range out {
		for p := range set {
			lists[dir] = append(lists[dir], p)
		}
		sort.Strings(lists[dir])
	}
	if len(lists) < 20 {
		t.Fatalf("only %d packages found", len(lists))
	}
	return lists
}

// within reports whether a package's folder or an import path is below prefix.
func within(p, prefix string) bool { return p == prefix || strings.HasPrefix(p, prefix+"/") }

func std(p string) bool { return !strings.Contains(strings.SplitN(p, "/", 2)[0], ".") }

// only says that the packages below dir import the standard library and what is
// listed (and below it), nothing else.
var only = []struct {
	dir     string
	allowed []string
}{
	{".", nil},
	{"workflows", []string{module, module + "/activities", "go.temporal.io/sdk/workflow", "go.temporal.io/sdk/temporal", "go.temporal.io/api/enums/v1"}},
	{"activities", []string{module, "go.temporal.io/sdk/activity", "go.temporal.io/sdk/temporal"}},
	{"trainer/grpo", []string{module, module + "/internal/rng"}},
	{"rollout/sampling", []string{module, module + "/internal/rng", module + "/internal/logprob"}},
	{"rewards", []string{module}},
	{"internal/tensor/cuda", []string{module + "/internal/tensor", module + "/internal/tensor/cuda/driver", module + "/internal/logprob", module + "/internal/rng"}},
	{"internal/tensor/cuda/driver", nil},
	{"internal/tensor/cuda/kernels", nil},
	{"internal/tensor/cuda/emu", []string{module + "/internal/tensor/cuda/driver", module + "/internal/tensor/cuda/kernels", "C"}},
}

// doors says which packages may import a large dependency.
var doors = []struct {
	dependency string
	packages   []string
}{
	{"github.com/nats-io/nats.go", []string{"internal/natsbus"}},
	{"github.com/nats-io/nats-server", []string{"internal/devserver", "internal/natsbus/natsserver"}},
	{"github.com/apache/arrow", []string{"internal/wire"}},
	{"gorgonia.org/cu", []string{"internal/tensor/cuda"}},
	{"go.temporal.io/server", []string{"internal/devserver"}},
	{"github.com/temporalio/ui-server", []string{"internal/devserver"}},
	{"go.temporal.io/sdk/client", []string{"cmd", "internal/worker", "internal/e2e", "internal/devserver", "examples"}},
	{"github.com/alecthomas/kong", []string{"cmd"}},
	{"go.yaml.in/yaml", []string{"internal/config"}},
	{"github.com/prometheus", []string{"internal/track"}},
}

// apart says that the packages below one folder do not import what is below
// the others.
var apart = []string{"rollout", "rewards", "trainer"}

func TestImportRules(t *testing.T) {
	for dir, list := range imports(t) {
		for _, p := range list {
			for _, rule := range only {
				if dir != rule.dir || std(p) {
					continue
				}
				ok := false
				for _, a := range rule.allowed {
					ok = ok || p == a
				}
				if !ok {
					t.Errorf("%s imports %s: it may import the standard library and %v", dir, p, rule.allowed)
				}
			}
			for _, d := range doors {
				if !within(p, d.dependency) {
					continue
				}
				ok := false
				for _, a := range d.packages {
					ok = ok || within(dir, a)
				}
				if !ok {
					t.Errorf("%s imports %s: only %v may", dir, p, d.packages)
				}
			}
			for _, a := range apart {
				if !within(dir, a) {
					continue
				}
				for _, b := range apart {
					if a != b && within(p, module+"/"+b) {
						t.Errorf("%s imports %s: %v do not know each other", dir, p, apart)
					}
				}
				if within(p, "go.temporal.io") || within(p, "github.com/nats-io") {
					t.Errorf("%s imports %s: it works in a plain loop", dir, p)
				}
			}
		}
	}
}

// Every package says what it is for.
func TestPackagesHaveADocComment(t *testing.T) {
	for dir := range imports(t) {
		files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			found = found || (parsed.Doc != nil && !strings.HasSuffix(f, "_test.go"))
		}
		if !found {
			t.Errorf("package %s has no doc comment", dir)
		}
	}
}
