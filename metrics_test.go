package grouse_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
)

func TestMetricsSurviveJSON(t *testing.T) {
	m := grouse.Metrics{"a": 1. / 3, "nan": math.NaN(), "inf": math.Inf(1), "neg": math.Inf(-1), "zero": math.Copysign(0, -1), "tiny": 5e-324}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back grouse.Metrics
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if string(back.AppendBits(nil)) != string(m.AppendBits(nil)) {
		t.Errorf("bits differ after %s", data)
	}
	for _, bad := range []string{`{"a":"x"}`, `{"a":true}`, `[1]`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestChainDependsOnEverything(t *testing.T) {
	h := strings.Repeat("0a", 32)
	b := strings.Repeat("0b", 32)
	base, err := grouse.Chain(h, b, grouse.Metrics{"loss": 0.5, "kl": 0})
	if err != nil {
		t.Fatal(err)
	}
	// From Python: sha256(prev + batch + sorted struct.pack("<I", len(k)) + k + struct.pack("<d", v)).
	if want := "2b3951b865eca0fe595e9ccbd66a17bf4c88756956e991724e6c45d361db264b"; base != want {
		t.Fatalf("chain %s, want %s", base, want)
	}
	for name, other := range map[string]func() (string, error){
		"previous": func() (string, error) { return grouse.Chain(b, b, grouse.Metrics{"loss": 0.5, "kl": 0}) },
		"batch":    func() (string, error) { return grouse.Chain(h, h, grouse.Metrics{"loss": 0.5, "kl": 0}) },
		"value": func() (string, error) {
			return grouse.Chain(h, b, grouse.Metrics{"loss": math.Nextafter(0.5, 1), "kl": 0})
		},
		"sign": func() (string, error) {
			return grouse.Chain(h, b, grouse.Metrics{"loss": 0.5, "kl": math.Copysign(0, -1)})
		},
		"name": func() (string, error) { return grouse.Chain(h, b, grouse.Metrics{"loss": 0.5, "k": 0}) },
	} {
		got, err := other()
		if err != nil || got == base {
			t.Errorf("another %s: %q, %v; want another hash", name, got, err)
		}
	}
	if again, _ := grouse.Chain(h, b, grouse.Metrics{"kl": 0, "loss": 0.5}); again != base {
		t.Errorf("same inputs gave %s, then %s", base, again)
	}
	for _, bad := range []string{"", "xx", h[:62]} {
		if _, err := grouse.Chain(bad, b, nil); grouse.KindOf(err) != grouse.Internal {
			t.Errorf("previous hash %q: %v, want an internal error", bad, err)
		}
	}
}
