package devices

import (
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

func TestOpen(t *testing.T) {
	d, err := Open(CPU, 1)
	if err != nil {
		t.Fatal(err)
	}
	c, ok := d.(*cpu.Device)
	if !ok || c.Threads() != 1 || Check(CPU) != nil {
		t.Errorf("%T, %v", d, Check(CPU))
	}
	if b, ok := Beside(d).(*cpu.Device); !ok || b == c || b.Threads() != 1 {
		t.Errorf("beside the processor: %T", Beside(d))
	}
	for _, name := range []string{"", "tpu"} {
		if _, err := Open(name, 0); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" || Check(name) == nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Ranks on processors need no library: the star is the group.
func TestRanksOnProcessors(t *testing.T) {
	star := collective.Local(1)[0]
	defer star.Close()
	d, err := Open(CPU, 1)
	if err != nil {
		t.Fatal(err)
	}
	if g, err := Group(t.Context(), d, star); err != nil || g != collective.Group(star) {
		t.Errorf("%v, %v", g, err)
	}
	if v, err := Collectives(d); err != nil || v != "" {
		t.Errorf("%q, %v", v, err)
	}
}
