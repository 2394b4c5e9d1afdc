package engine_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rollout/engine"
)

// letters writes a token as a syllable, so that stop strings can lie across tokens.
func letters(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteByte('a' + byte(id%20))
		b.WriteByte('A' + byte(id/20%20))
	}
	return b.String()
}

// A stop string ends a completion with the token that completes it, within a token or
// across tokens; what came before is as it would be without.
func TestStopStrings(t *testing.T) {
	m := open(t, 2, "llama")
	r := requests(3, samplings["full"])[2]
	r.N, r.MaxTokens, r.StopIDs, r.Decode = 1, 30, nil, letters
	free := generate(t, m, 2, engine.Options{}, []engine.Request{r})[0][0]
	text := letters(free.ResponseIDs)
	if free.Finish != grouse.FinishLength || len(free.ResponseIDs) != 30 || free.Text != text {
		t.Fatalf("without a stop string: %d tokens, %s, %q", len(free.ResponseIDs), free.Finish, free.Text)
	}
	for _, at := range []struct{ from, to int }{{20, 22}, {21, 25}, {23, 24}} { // characters: a token, across three, half a token
		stop := text[at.from:at.to]
		first := strings.Index(text, stop) + len(stop)
		want := (first + 1) / 2 // tokens
		r.StopStrings = []string{"none of it", stop}
		got := generate(t, m, 2, engine.Options{}, []engine.Request{r})[0][0]
		if got.Finish != grouse.FinishStop || len(got.ResponseIDs) != want {
			t.Errorf("stop at %q: %d tokens (%s), want %d", stop, len(got.ResponseIDs), got.Finish, want)
			continue
		}
		for i := range want {
			if got.ResponseIDs[i] != free.ResponseIDs[i] || math.Float32bits(got.Logprobs[i]) != math.Float32bits(free.Logprobs[i]) {
				t.Errorf("stop at %q: token %d differs", stop, i)
			}
		}
	}
}

// Tokens without text, as special ones are, may lie within a stop string.
func TestStopStringsAcrossSilentTokens(t *testing.T) {
	m := open(t, 2, "llama")
	r := requests(3, samplings["full"])[2]
	r.N, r.MaxTokens, r.StopIDs = 1, 30, nil
	free := generate(t, m, 2, engine.Options{}, []engine.Request{r})[0][0].ResponseIDs
	// Two tokens far apart, neither of which occurs between them or, the second, before.
	first, last, want := int32(-1), int32(-1), 0
	for j := range free {
		for i := range j {
			if j-i > 8 && !slices.Contains(free[i+1:j+1], free[i]) && !slices.Contains(free[:j], free[j]) {
				first, last, want = free[i], free[j], j+1
			}
		}
	}
	if want == 0 {
		t.Fatal("no such tokens: take another prompt")
	}
	r.Decode = func(ids []int32) string { // two of the tokens speak
		var b strings.Builder
		for _, id := range ids {
			if id == first {
				b.WriteByte('x')
			}
			if id == last {
				b.WriteByte('y')
			}
		}
		return b.String()
	}
	r.StopStrings = []string{"xy"}
	if got := generate(t, m, 2, engine.Options{}, []engine.Request{r})[0][0]; len(got.ResponseIDs) != want || got.Finish != grouse.FinishStop {
		t.Errorf("%d tokens (%s), want %d of %q", len(got.ResponseIDs), got.Finish, want, r.Decode(free))
	}
}

// New weights come between requests, never into one: what has begun ends on its own
// version, bit for bit, beside what began on the next.
func TestWeightsAreSwappedBetweenRequests(t *testing.T) {
	old := open(t, 2, "llama")
	next, err := model.New(cpu.New(2), old.Config)
	if err != nil {
		t.Fatal(err)
	}
	next.Init(rng.NewKey(rng.Init, "", 5))
	reqs := requests(4, samplings["full"])
	for i := range reqs {
		reqs[i].StopIDs, reqs[i].MaxTokens = nil, 25
	}
	alone := func(m *model.Model, version int64, r engine.Request) []grouse.Rollout {
		e := engine.New(cpu.New(2), engine.Options{})
		defer e.Close()
		e.SetPolicy(m, version)
		out, err := e.Generate(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	e := engine.New(cpu.New(2), engine.Options{})
	defer e.Close()
	e.SetPolicy(old, 7)
	begun := make(chan struct{})
	seen := 0
	first := reqs[0]
	first.Token = func(sample int, _ int32, _ float32) {
		if seen++; seen == 3*first.N { // in the middle
			e.SetPolicy(next, 8)
			close(begun)
		}
	}
	type answer struct {
		out []grouse.Rollout
		err error
	}
	done := make(chan answer, 1)
	go func() {
		out, err := e.Generate(context.Background(), first)
		done <- answer{out, err}
	}()
	<-begun
	later, err := e.GenerateAll(context.Background(), reqs[1:], nil)
	if err != nil {
		t.Fatal(err)
	}
	a := <-done
	if a.err != nil {
		t.Fatal(a.err)
	}
	same(t, "begun before the swap", a.out, alone(old, 7, reqs[0]))
	versions(t, a.out, 7)
	for i, out := range later {
		same(t, "begun after the swap", out, alone(next, 8, reqs[i+1]))
		versions(t, out, 8)
	}
	if letters(alone(next, 8, reqs[0])[0].ResponseIDs) == letters(a.out[0].ResponseIDs) {
		t.Error("both versions complete alike: the test shows nothing")
	}
}

func versions(t *testing.T, out []grouse.Rollout, want int64) {
	t.Helper()
	for _, r := range out {
		for i, v := range r.PolicyVersion {
			if v != want {
				t.Fatalf("token %d was drawn by version %d, want %d", i, v, want)
			}
		}
	}
}
