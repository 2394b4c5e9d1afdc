package repetition_test

import (
	"math"
	"math/rand"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards/repetition"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

func TestShareAgainstTwin(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 300 {
		words := make([]string, r.Intn(30))
		for i := range words {
			words[i] = string(rune('a' + r.Intn(3)))
		}
		n := 1 + r.Intn(4)
		seen, all := map[string]bool{}, 0
		for i := 0; i+n <= len(words); i++ {
			seen[strings.Join(words[i:i+n], " ")] = true
			all++
		}
		want := 0.0
		if all > 0 {
			want = 1 - float64(len(seen))/float64(all)
		}
		if got := repetition.Share(strings.Join(words, " "), n); math.Abs(got-want) > 1e-15 {
			t.Fatalf("Share(%v, %d) = %v, want %v", words, n, got, want)
		}
	}
}

func TestReward(t *testing.T) {
	r, err := repetition.New(map[string]any{"n": 2, "max_penalty": 0.5})
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "new words", Completion: "one two three four", Want: 0},
		rewardtest.Case{Name: "half again", Completion: "a b a b a", Want: -0.25},
		rewardtest.Case{Name: "case does not hide it", Completion: "Go go GO", Want: -0.25},
		rewardtest.Case{Name: "empty", Completion: "", Want: 0})
	for _, p := range []map[string]any{{"n": 0}, {"max_penalty": -1}, {"m": 1}} {
		if _, err := repetition.New(p); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%v: error %v", p, err)
		}
	}
}
