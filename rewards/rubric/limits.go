package rubric

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Budget is what a reward may spend in the life of its process. Zero: no limit.
type Budget struct {
	Questions int        // asked
	Tokens    int        // read and written
	Cost      float64    // in the currency of Price
	Price     [2]float64 // of a million tokens, read and written
}

func (b Budget) check() error {
	bad := b.Questions < 0 || b.Tokens < 0
	for _, v := range []float64{b.Cost, b.Price[0], b.Price[1]} {
		bad = bad || !(v >= 0) || math.IsInf(v, 0)
	}
	if bad || (b.Cost > 0 && b.Price == [2]float64{}) {
		return grouse.Errorf(grouse.Invalid, "a budget of %d questions, %d tokens, cost %v at a price of %v", b.Questions, b.Tokens, b.Cost, b.Price).
			WithFix("set numbers of at least 0, and with max_cost the price of a million tokens: price: [IN, OUT]")
	}
	return nil
}

// limits holds questions back and counts what they cost.
type limits struct {
	budget    Budget
	perMinute int

	mu     sync.Mutex
	asked  int
	tokens [2]int
	next   time.Time // when another question may be asked
}

// take waits for the turn of another question, or says that the budget is spent.
func (l *limits) take(ctx context.Context) error {
	l.mu.Lock()
	if err := l.spent(); err != nil {
		l.mu.Unlock()
		return err
	}
	l.asked++
	wait := time.Duration(0)
	if l.perMinute > 0 {
		now := time.Now()
		if l.next.Before(now) {
			l.next = now
		}
		wait = l.next.Sub(now)
		l.next = l.next.Add(time.Minute / time.Duration(l.perMinute))
	}
	l.mu.Unlock()
	if wait == 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *limits) spent() error {
	no := func(what string, most any, key string) error {
		return rewards.Fail(grouse.Errorf(grouse.Invalid, "the judge's budget of %v %s is spent", most, what).WithFix("raise %s", key))
	}
	b := l.budget
	cost := (float64(l.tokens[0])*b.Price[0] + float64(l.tokens[1])*b.Price[1]) / 1e6
	switch {
	case b.Questions > 0 && l.asked >= b.Questions:
		return no("questions", b.Questions, "max_questions")
	case b.Tokens > 0 && l.tokens[0]+l.tokens[1] >= b.Tokens:
		return no("tokens", b.Tokens, "max_total_tokens")
	case b.Cost > 0 && cost >= b.Cost:
		return no("(its cost)", b.Cost, "max_cost")
	}
	return nil
}

func (l *limits) spend(tokens [2]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens[0] += tokens[0]
	l.tokens[1] += tokens[1]
}
