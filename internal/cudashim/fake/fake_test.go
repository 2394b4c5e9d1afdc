package fake

import (
	"debug/elf"
	"path/filepath"
	"testing"
)

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	if err := Build(dir); err != nil {
		t.Fatal(err)
	}
	for _, l := range libraries {
		f, err := elf.Open(filepath.Join(dir, l.file))
		if err != nil {
			t.Fatal(err)
		}
		if name, err := f.DynString(elf.DT_SONAME); err != nil || len(name) != 1 || name[0] != l.file {
			t.Errorf("%s: soname %q, %v", l.file, name, err)
		}
		f.Close()
	}
}
