package builtin_test

import (
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards/builtin"
)

func TestEveryEntryIsDocumented(t *testing.T) {
	for _, e := range builtin.Registry().Entries() {
		if e.Doc == "" || !strings.HasPrefix(e.Usage, "{use: "+e.Name) {
			t.Errorf("%s: doc %q, usage %q", e.Name, e.Doc, e.Usage)
		}
		if _, err := e.New(map[string]any{"no_such_parameter": 1}); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("%s: an unknown parameter is accepted (%v)", e.Name, err)
		}
	}
}

func TestRegistriesAreSeparate(t *testing.T) {
	a, b := builtin.Registry(), builtin.Registry()
	e, err := a.Lookup("exact")
	if err != nil {
		t.Fatal(err)
	}
	e.Name = "mine"
	if err := a.Add(e); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lookup("mine"); err == nil {
		t.Error("a reward added to one registry is in another")
	}
}
