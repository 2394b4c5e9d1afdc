package e2e

import (
	"strings"
	"testing"
)

// TestRanks: two processes train; one of them is killed between two checkpoints and started
// again, and then the other, the run itself: the end is the undisturbed one's, bit for bit.
func TestRanks(t *testing.T) {
	const recipe = "testdata/ranks.yaml"
	begin := func(home string, args ...string) *process {
		p := launch(t, home, nil, append(args, "--json")...)
		p.awaitFirst()
		return p
	}
	rank1 := func(home string) *process { return launch(t, home, nil, "worker", "--train", "ranks", "--rank", "1") }
	after := func(p *process, step int64) {
		t.Helper()
		p.awaitEvent("a step", func(e event) bool { return e.Event == "step" && e.Step >= step })
	}
	home := t.TempDir()
	zero := begin(home, "run", recipe)
	one := rank1(home)
	want := zero.finish()
	if code := one.wait(); code != 0 || !strings.Contains(strings.Join(one.lines, ""), "rank 1: run ranks is done") {
		t.Errorf("rank 1: exit code %d:\n%s%s", code, strings.Join(one.lines, ""), one.stderr.String())
	}

	home = t.TempDir()
	zero = begin(home, "run", recipe)
	one = rank1(home)
	after(zero, 4)
	one.kill()
	one = rank1(home)
	after(zero, 8)
	zero.kill()
	zero = begin(home, "resume", "ranks")
	same(t, "rank 1, then rank 0 killed", zero.finish(), want)
	if code := one.wait(); code != 0 {
		t.Errorf("rank 1, started again: exit code %d:\n%s", code, one.stderr.String())
	}
	if said := strings.Join(one.lines, ""); strings.Count(said, "all 2 ranks of run ranks are there") < 2 { // else the run was over before the kills
		t.Errorf("rank 1, started again, met rank 0 less than twice:\n%s", said)
	}
}
