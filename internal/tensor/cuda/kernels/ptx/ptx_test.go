package ptx

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestThePTXIsOfTheKernels(t *testing.T) {
	if err := Embedded.Check(os.DirFS("..")); err != nil {
		t.Error(err)
	}
}

// A set that ptx.sh made for a kernel of the tests: what Check notices.
func TestCheckNotices(t *testing.T) {
	const dir = "../../gpu/testdata"
	read := func(name string) []byte {
		data, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	manifest := string(read("ptx/MANIFEST"))
	set := func() fstest.MapFS {
		return fstest.MapFS{"MANIFEST": {Data: []byte(manifest)}, "compute_80.ptx.gz": {Data: read("ptx/compute_80.ptx.gz")}, "compute_90.ptx.gz": {Data: read("ptx/compute_90.ptx.gz")}}
	}
	sources := func() fstest.MapFS { return fstest.MapFS{"test.cu": {Data: read("test.cu")}} }
	if err := (Set{set()}).Check(sources()); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(set, sources fstest.MapFS){
		"was changed after": func(_, s fstest.MapFS) { s["test.cu"] = &fstest.MapFile{Data: []byte("// other")} },
		"is new since":      func(_, s fstest.MapFS) { s["more.cuh"] = &fstest.MapFile{} },
		"which is gone":     func(_, s fstest.MapFS) { delete(s, "test.cu") },
		"no PTX yet":        func(p, _ fstest.MapFS) { delete(p, "MANIFEST") },
		"was made with": func(p, _ fstest.MapFS) {
			p["MANIFEST"] = &fstest.MapFile{Data: []byte(strings.Replace(manifest, "--fmad=false", "--fmad=true", 1))}
		},
		"is not what MANIFEST says": func(p, _ fstest.MapFS) { p["compute_90.ptx.gz"] = p["compute_80.ptx.gz"] },
		"the folder has 3":          func(p, _ fstest.MapFS) { p["compute_75.ptx.gz"] = p["compute_80.ptx.gz"] },
	} {
		p, s := set(), sources()
		change(p, s)
		err := Set{p}.Check(s)
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "go generate") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
