package math_test

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/rewards/math"
)

// pair is one of the corpus.
type pair struct {
	category, reference, answer string
	same                        bool
}

// corpus reads testdata/corpus.txt.
func corpus(t testing.TB) []pair {
	t.Helper()
	f, err := os.Open("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []pair
	category, reference := "", ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, " = "), strings.HasPrefix(line, " ! "):
			out = append(out, pair{category, reference, line[3:], line[1] == '='})
		case line == "" || line[0] == '#':
		case line[0] == '[' && line[len(line)-1] == ']' && !strings.ContainsAny(line, ",0123456789"):
			category = strings.Trim(line, "[]")
		default:
			reference = line
		}
	}
	return out
}

// TestCorpus holds Equivalent to every pair of the corpus, in both directions.
func TestCorpus(t *testing.T) {
	pairs := corpus(t)
	if len(pairs) < 600 {
		t.Fatalf("the corpus has %d pairs only", len(pairs))
	}
	for _, p := range pairs {
		if got := math.Equivalent(p.answer, p.reference); got != p.same {
			t.Errorf("%s: Equivalent(%q, %q) = %v", p.category, p.answer, p.reference, got)
		}
		if got := math.Equivalent(p.reference, p.answer); got != p.same {
			t.Errorf("%s, turned round: Equivalent(%q, %q) = %v", p.category, p.reference, p.answer, got)
		}
	}
}

// TestAgreement compares with math-verify's verdicts on the corpus, which
// scripts/golden/math_agreement.py wrote: where it is right we are to agree, and the
// cases that it is known to get wrong must be among those where we are right alone.
func TestAgreement(t *testing.T) {
	data, err := os.ReadFile("testdata/math_verify.txt")
	if err != nil {
		t.Fatal(err)
	}
	pairs, verdicts := corpus(t), strings.Fields(string(data))
	if len(pairs) != len(verdicts) {
		t.Fatalf("%d pairs, %d verdicts: run scripts/golden/math_agreement.py again", len(pairs), len(verdicts))
	}
	right, agree := 0, 0
	alone := map[string]bool{}
	for i, p := range pairs {
		ours := math.Equivalent(p.answer, p.reference)
		if theirs := map[bool]string{true: "1", false: "0"}[p.same]; verdicts[i] == theirs {
			if right++; ours == p.same {
				agree++
			}
		} else if ours == p.same {
			alone[p.reference+" <> "+p.answer] = true
		}
	}
	t.Logf("%d pairs; math-verify is right on %d, and there we agree on %d; we are right alone on %d", len(pairs), right, agree, len(alone))
	if float64(agree) < 0.99*float64(right) {
		t.Errorf("we agree on %d of the %d pairs on which math-verify is right", agree, right)
	}
}

func BenchmarkCorpus(b *testing.B) {
	pairs := corpus(b)
	for n := 0; b.Loop(); n++ {
		p := pairs[n%len(pairs)]
		math.Equivalent(p.answer, p.reference)
	}
}
