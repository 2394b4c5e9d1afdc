package rubric

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Question is what a Judge is asked.
type Question struct {
	System string
	User   string
	Seed   int // of the vote and the attempt: two questions that differ in it may have different answers
	Items  []Item
}

// Reply is what a Judge answers.
type Reply struct {
	Text   string
	Tokens [2]int // read and written, for the budget; 0 if it does not say
}

// Judge answers questions. Ask should return a retryable rewards.Error where trying
// again may help. Implementations must be safe for concurrent use.
type Judge interface {
	Name() string // identifies the judge and its settings: part of the key that replies are kept by
	Ask(ctx context.Context, q Question) (Reply, error)
}

// Options are the settings of a rubric reward.
type Options struct {
	Items       []Item // the rubric of every row; nil: each row's own
	Column      string // the column of each row's rubric; "rubric"
	Reference   string // column with a reference answer for the judge; "": none
	Votes       int    // on a completion, by the judges in turn; 1
	Quorum      int    // votes that must be readable; 0: all
	Attempts    int    // questions for one vote until a reply can be read; 3
	Retries     int    // of a question that may get through later, with growing pauses
	Concurrency int    // questions at the same time; 8
	PerMinute   int    // questions a minute; 0: no limit
	Budget      Budget
	Memo        Memo // nil: in memory
}

// Reward is a rubric reward. Its value is from 0 to 1.
type Reward struct {
	o      Options
	judges []Judge
	slots  chan struct{}
	limits limits
}

// New checks the options.
func New(o Options, judges ...Judge) (*Reward, error) {
	if o.Column == "" {
		o.Column = "rubric"
	}
	o.Votes, o.Attempts = max(o.Votes, 1), max(o.Attempts, 1)
	if o.Quorum == 0 {
		o.Quorum = o.Votes
	}
	if o.Quorum < 1 || o.Quorum > o.Votes {
		return nil, grouse.Errorf(grouse.Invalid, "a quorum of %d of %d votes", o.Quorum, o.Votes).WithFix("set quorum to 1 to votes")
	}
	if err := o.Budget.check(); err != nil {
		return nil, err
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 8
	}
	if o.Memo == nil {
		o.Memo = NewMemory()
	}
	if len(judges) == 0 || slices.Contains(judges, nil) {
		return nil, grouse.Errorf(grouse.Invalid, "a rubric without a judge").WithFix("set judge: {url: ..., model: ...}")
	}
	if o.Items != nil {
		if err := Validate(o.Items); err != nil {
			return nil, err
		}
	}
	return &Reward{o: o, judges: judges, slots: make(chan struct{}, o.Concurrency), limits: limits{budget: o.Budget, perMinute: o.PerMinute}}, nil
}

// Judge marks every completion of the group, at the same time as far as Concurrency
// allows. One that cannot be judged fails the group.
func (r *Reward) Judge(ctx context.Context, g *rewards.Group) ([]rewards.Result, error) {
	if err := ctx.Err(); err != nil || len(g.Samples) == 0 {
		return nil, err
	}
	items, reference, err := r.rubric(&g.Samples[0])
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, errs := make([]rewards.Result, len(g.Samples)), make([]error, len(g.Samples))
	var wg sync.WaitGroup
	for i := range g.Samples {
		wg.Go(func() {
			if out[i], errs[i] = r.sample(ctx, &g.Samples[i], items, reference); errs[i] != nil {
				cancel() // the group has failed: spare the rest
			}
		})
	}
	wg.Wait()
	return out, firstCause(errs)
}

// firstCause returns the first error that is not only the cancellation of the others.
func firstCause(errs []error) error {
	var cancelled error
	for i, err := range errs {
		switch {
		case err == nil:
		case strings.Contains(err.Error(), context.Canceled.Error()):
			cancelled = err
		default:
			return rewards.AtSample(i, err)
		}
	}
	return cancelled
}

// rubric returns the row's rubric and reference.
func (r *Reward) rubric(s *rewards.Sample) (items []Item, reference string, err error) {
	if r.o.Reference != "" {
		if reference, err = s.Text(r.o.Reference); err != nil {
			return nil, "", err
		}
	}
	if r.o.Items != nil {
		return r.o.Items, reference, nil
	}
	v, ok := s.Column(r.o.Column)
	if !ok {
		_, err := s.Text(r.o.Column)
		return nil, "", err
	}
	if items, err = Parse(v); err != nil {
		return nil, "", rewards.Fail(fmt.Errorf("row %s: column %q: %w", s.Prompt.RowID, r.o.Column, err))
	}
	return items, reference, nil
}

// sample collects the votes on one completion's answer part.
func (r *Reward) sample(ctx context.Context, s *rewards.Sample, items []Item, reference string) (rewards.Result, error) {
	sys, user := prompts(task(s.Prompt), s.Answer, reference, items)
	var ballots []map[string]float64
	var lines []string
	failed := 0
	for v := range r.o.Votes {
		marks, reasons, err := r.vote(ctx, sys, user, items, v)
		if err != nil {
			if failed++; ctx.Err() != nil || r.o.Votes-failed < r.o.Quorum {
				return rewards.Result{}, err
			}
			continue
		}
		ballots = append(ballots, marks)
		if len(ballots) == 1 {
			for _, it := range items {
				lines = append(lines, fmt.Sprintf("%s %.2g: %s", it.ID, marks[it.ID], reasons[it.ID]))
			}
		}
	}
	marks := vote(items, ballots)
	return rewards.Result{Value: Score(items, marks), Numbers: marks, Explanation: strings.Join(lines, "; ")}, nil
}

// task is the prompt as a person would read it.
func task(p *grouse.Prompt) string {
	if len(p.Messages) == 0 {
		return p.Text
	}
	var b strings.Builder
	for _, m := range p.Messages {
		fmt.Fprintf(&b, "%s: %s\n", m.Role, m.Content)
	}
	return b.String()
}

// vote asks a judge until a reply can be read. Replies are kept, also those that
// cannot be: a resumed run asks on where it stopped.
func (r *Reward) vote(ctx context.Context, sys, user string, items []Item, v int) (marks map[string]float64, reasons map[string]string, err error) {
	judge := r.judges[v%len(r.judges)]
	for attempt := range r.o.Attempts {
		q := Question{System: sys, User: user, Seed: v*r.o.Attempts + attempt, Items: items}
		reply, err := r.ask(ctx, judge, q)
		if err != nil {
			return nil, nil, err
		}
		if marks, reasons, err = parseReply(reply, items); err == nil {
			return marks, reasons, nil
		} else if attempt == r.o.Attempts-1 {
			return nil, nil, rewards.Failf(grouse.BadOutput, "judge %s: after %d attempts: %w", judge.Name(), r.o.Attempts, err)
		}
	}
	panic("rubric: no attempt was made") // Attempts is at least 1
}

// ask answers from the memo, or asks the judge within the limits.
func (r *Reward) ask(ctx context.Context, judge Judge, q Question) (string, error) {
	key := key(judge, q)
	if reply, ok, err := r.o.Memo.Get(key); err != nil || ok {
		if err != nil {
			err = rewards.TryAgain(fmt.Errorf("read a kept verdict: %w", err))
		}
		return reply, err
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	var reply Reply
	for retry := 0; ; retry++ {
		err := r.limits.take(ctx)
		if err != nil {
			return "", err
		}
		if reply, err = judge.Ask(ctx, q); err == nil {
			break
		}
		if !rewards.Retryable(err) || retry >= r.o.Retries {
			return "", err
		}
		select {
		case <-time.After(firstPause << min(retry, 8)):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	r.limits.spend(reply.Tokens)
	if err := r.o.Memo.Put(key, reply.Text); err != nil {
		return "", rewards.TryAgain(fmt.Errorf("keep a verdict: %w", err))
	}
	return reply.Text, nil
}

// firstPause is before the first retry; it doubles with each.
const firstPause = 250 * time.Millisecond

func key(judge Judge, q Question) string {
	data, err := json.Marshal([]any{"grouse rubric 1", judge.Name(), q.System, q.User, q.Seed})
	if err != nil {
		panic(err) // strings and an int
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

var _ rewards.Reward = (*Reward)(nil)
