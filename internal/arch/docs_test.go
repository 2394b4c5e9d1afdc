package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A name in docs/algorithms.md, such as `trainer/grpo.Estimator.At`, is declared
// in that package or its tests; `grouse.X` is the root package.
func TestNamesInAlgorithmsExist(t *testing.T) {
	data, err := os.ReadFile("../../docs/algorithms.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]map[string]bool{}
	n := 0
	for _, m := range regexp.MustCompile("`([a-z][a-z0-9/]*)\\.([A-Z][A-Za-z0-9.]*)`").FindAllStringSubmatch(string(data), -1) {
		n++
		dir := m[1]
		if dir == "grouse" {
			dir = "."
		}
		if declared[dir] == nil {
			declared[dir] = declarations(t, filepath.Join("../..", dir))
		}
		if !declared[dir][m[2]] {
			t.Errorf("docs/algorithms.md names %s.%s, which does not exist", m[1], m[2])
		}
	}
	if n < 50 {
		t.Errorf("only %d names found: has the way they are written changed?", n)
	}
}

// declarations returns the functions ("F"), methods ("T.M") and types of a folder,
// its tests included.
func declarations(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("docs/algorithms.md names the package %s, which has no files", dir)
	}
	out := map[string]bool{}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := fn.Name.Name
			if fn.Recv != nil {
				name = receiver(fn.Recv.List[0].Type) + "." + name
			}
			out[strings.TrimPrefix(name, ".")] = true
		}
	}
	return out
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
