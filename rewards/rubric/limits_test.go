package rubric_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/rubric"
)

func TestTokenAndCostBudgets(t *testing.T) {
	for _, c := range []struct {
		name   string
		budget rubric.Budget
		key    string
	}{
		{"tokens", rubric.Budget{Tokens: 200}, "max_total_tokens"},                                        // a question costs 110
		{"cost", rubric.Budget{Cost: 0.0002, Price: [2]float64{1, 2}}, "max_cost"},                        // a question costs 0.00012
		{"questions", rubric.Budget{Questions: 2, Tokens: 1e6, Price: [2]float64{1, 2}}, "max_questions"}, //
	} {
		r := reward(t, rubric.Options{Items: items, Budget: c.budget, Concurrency: 1}, &fake{ask: honest})
		for i, text := range []string{"4", "5", "6"} {
			_, err := r.Judge(context.Background(), group(text))
			if (err != nil) != (i == 2) || i == 2 && (!strings.Contains(grouse.FixOf(err), c.key) || rewards.Retryable(err)) {
				t.Errorf("%s: question %d: %v", c.name, i+1, err)
			}
		}
	}
}

func TestPerMinute(t *testing.T) {
	r := reward(t, rubric.Options{Items: items, PerMinute: 600, Concurrency: 8}, &fake{ask: honest}) // one in 100 ms
	began := time.Now()
	if _, err := r.Judge(context.Background(), group("4", "5", "6", "7")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 290*time.Millisecond {
		t.Errorf("four questions took %v, want 300 ms at 600 a minute", took)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Judge(ctx, group("8", "9")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a deadline while waiting for a turn: %v", err)
	}
}

// A question that may get through later is asked again, with pauses; one that cannot
// is not.
func TestRetries(t *testing.T) {
	for _, c := range []struct {
		err   error
		asked int
		ok    bool
	}{{rewards.TryAgain(errors.New("busy")), 3, true}, {rewards.Fail(errors.New("no such model")), 1, false}} {
		n := 0
		j := &fake{ask: func(q rubric.Question) (string, error) {
			if n++; n < 3 {
				return "", c.err
			}
			return honest(q)
		}}
		got, err := reward(t, rubric.Options{Items: items, Retries: 2}, j).Judge(context.Background(), group("4"))
		if (err == nil) != c.ok || n != c.asked || c.ok && got[0].Value != 1 {
			t.Errorf("%v: asked %d times, %v; want %d, success %v", c.err, n, err, c.asked, c.ok)
		}
	}
}

// Several judges vote in turn; a quorum bears with those who cannot.
func TestQuorum(t *testing.T) {
	kind := &fake{ask: func(rubric.Question) (string, error) {
		return marks(map[string]float64{"right": 1, "clear": 1, "rude": 0}), nil
	}}
	strict := &fake{ask: func(rubric.Question) (string, error) {
		return marks(map[string]float64{"right": 1, "clear": 0, "rude": 0}), nil
	}}
	broken := &fake{ask: func(rubric.Question) (string, error) { return "I would rather not", nil }}
	for _, c := range []struct {
		quorum int
		judges []rubric.Judge
		want   float64
		ok     bool
	}{
		{3, []rubric.Judge{kind, strict, kind}, 1, true}, {3, []rubric.Judge{kind, strict, broken}, 0, false},
		{2, []rubric.Judge{kind, strict, broken}, 2.5 / 3, true}, {2, []rubric.Judge{broken, strict, broken}, 0, false},
	} {
		r, err := rubric.New(rubric.Options{Items: items, Votes: 3, Quorum: c.quorum, Attempts: 2}, c.judges...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Judge(context.Background(), group("4"))
		if (err == nil) != c.ok || c.ok && got[0].Value != c.want {
			t.Errorf("quorum %d: %+v, %v; want %v, success %v", c.quorum, got, err, c.want, c.ok)
		}
		if !c.ok && rewards.OutcomeOf(err) != grouse.BadOutput {
			t.Errorf("quorum %d: outcome %s of %v", c.quorum, rewards.OutcomeOf(err), err)
		}
	}
}

// A judge that thinks aloud is read after its thoughts.
func TestJudgeThinks(t *testing.T) {
	j := &fake{ask: func(q rubric.Question) (string, error) {
		reply, _ := honest(q)
		return `<think>{"marks": [{"id": "right", "mark": 0}]} or {maybe} not</think>` + reply, nil
	}}
	got, err := reward(t, rubric.Options{Items: items}, j).Judge(context.Background(), group("4"))
	if err != nil || got[0].Value != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A person answers when they come; the question waits in a file meanwhile, also when
// nobody is there to wait for it.
func TestHuman(t *testing.T) {
	dir := t.TempDir()
	human := func() *rubric.Human {
		h, err := rubric.NewHuman(dir)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := rewards.Call(ctx, reward(t, rubric.Options{Items: items}, human()), group("4"), time.Minute); rewards.OutcomeOf(err) != grouse.TimedOut {
		t.Fatalf("nobody answers: %v", err)
	}
	open, err := rubric.Open(dir)
	if err != nil || len(open) != 1 || !strings.Contains(open[0].User, "2+2?") || len(open[0].Items) != 3 {
		t.Fatalf("waiting questions %+v, %v", open, err)
	}
	if err := rubric.Answer(dir, open[0], map[string]float64{"right": 1}, ""); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("an answer without marks for all: %v", err)
	}
	if err := rubric.Answer(dir, open[0], map[string]float64{"right": 1, "clear": 7, "rude": 0}, ""); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("a mark of 7: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		got, err := reward(t, rubric.Options{Items: items}, human()).Judge(context.Background(), group("4"))
		if err == nil && (got[0].Value != 2.5/3 || !strings.Contains(got[0].Explanation, "fine")) {
			err = errors.New(got[0].Explanation)
		}
		done <- err
	}()
	if err := rubric.Answer(dir, open[0], map[string]float64{"right": 1, "clear": 0.5, "rude": 0}, "fine"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the answer was not noticed")
	}
	if open, err = rubric.Open(dir); err != nil || len(open) != 0 {
		t.Errorf("still waiting: %+v, %v", open, err)
	}
	if err := rubric.Answer(dir, rubric.Waiting{ID: "none"}, nil, ""); err == nil {
		t.Error("an answer to nothing was taken")
	}
}
