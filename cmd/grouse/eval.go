package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/worker"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rollout/engine"
)

type evalCmd struct {
	Model     string   `arg:"" help:"${modelHelp}"`
	Data      string   `help:"Rows to be solved: a file, a folder, hub:ORG/NAME, or task:NAME, rows that grouse generates. A run's held-out data unless given." placeholder:"FILE"`
	Reward    []string `help:"Reward that says what is right: a name, or JSON with its parameters. A run's own unless given." placeholder:"NAME" sep:"none"`
	N         int      `short:"n" help:"Completions a prompt." placeholder:"N"`
	MaxTokens int      `help:"Longest completion, tokens." placeholder:"N"`
	Prompt    string   `help:"Column of the prompt." placeholder:"COLUMN"`
	Answer    string   `help:"Column of the answer; a dotted path goes into objects." placeholder:"COLUMN"`
	Template  string   `help:"Text around the prompt: '{prompt} Answer with a number.'" placeholder:"TEXT"`
	Split     string   `help:"Split of a hub data set or a task." placeholder:"NAME"`
	Config    string   `help:"Configuration of a hub data set." placeholder:"NAME"`
	System    string   `help:"System prompt." placeholder:"TEXT"`
	Plain     bool     `help:"Prompts are plain text, not in the model's chat template."`
	Limit     int      `help:"Prompts; 0 for all." default:"0"`
	JSON      bool     `name:"json" help:"One JSON object."`
	samplingFlags
}

// Help is shown by `grouse eval --help`.
func (c *evalCmd) Help() string {
	return `Generates N completions of each prompt and judges them. avg@n is the mean share of right completions,
pass@k the unbiased estimate of the share of prompts that k completions solve. The intervals are 95%:
Wilson's for shares of prompts, else a bootstrap over prompts; the same call gives the same numbers.
A completion is right if the reward says so, or if its reward is positive.

Examples:
  grouse eval quickstart                                      a run, as it evaluates itself
  grouse eval quickstart@50 --n 8                             an earlier checkpoint, pass@1 to pass@8
  grouse eval ./model --data gsm8k/test.jsonl --prompt question --reward math --n 4 --json
  grouse eval Qwen/Qwen3-0.6B --data test.jsonl --reward '{"use":"exact","column":"label"}' --greedy`
}

// evalReport is what eval prints; avg@n and pass@k stand beside its fields.
type evalReport struct {
	Model     string                `json:"model"`
	Data      string                `json:"data"`
	Prompts   int                   `json:"prompts"`
	N         int                   `json:"n"`
	Reward    float64               `json:"reward"`      // mean total reward of what was judged
	NotJudged int                   `json:"not_judged"`  // prompts; they count as wrong
	Truncated float64               `json:"truncated"`   // share of completions
	Length    float64               `json:"mean_length"` // tokens
	Intervals map[string][2]float64 `json:"intervals"`   // 95%
}

// evalWork is what is to be done.
type evalWork struct {
	data      string
	prompts   []grouse.Prompt
	rewards   []grouse.RewardSpec
	sampling  grouse.Sampling
	n, tokens int
	stop      []string
	key       rng.Key
	step      uint32
}

// Run evaluates a model.
func (c *evalCmd) Run(a *app) error {
	p, at, err := openModel(a, c.Model, "", true)
	if err != nil {
		return err
	}
	w, err := c.plan(a, p, at)
	if err != nil {
		return err
	}
	composite, err := worker.Rewards(a.home, nil).Compose(w.rewards)
	if err != nil {
		return err
	}
	defer composite.Close()
	reqs := make([]engine.Request, len(w.prompts))
	for i, prompt := range w.prompts {
		reqs[i] = engine.Request{Prompt: prompt.TokenIDs, N: w.n, Sampling: w.sampling, MaxTokens: w.tokens, StopIDs: p.StopIDs(), StopStrings: w.stop,
			Decode: p.Decode, Key: w.key, Step: w.step, Candidate: uint32(i)}
	}
	bar := newBar(a, c.JSON, "eval", int64(len(reqs)))
	defer bar.close()
	judge := newJudge(a.ctx, composite, len(reqs))
	err = generateInOrder(a.ctx, p, reqs, func(i int, out []grouse.Rollout) error {
		judge.add(i, grouse.Group{Candidate: uint32(i), Prompt: w.prompts[i], Rollouts: out, Sampling: w.sampling})
		bar.set(int64(i + 1))
		return nil
	})
	judged := judge.wait()
	if err != nil {
		return err
	}
	bar.close()
	return c.print(a, w, judged)
}

// plan joins the flags with what the run, if it is one, says of evaluation.
func (c *evalCmd) plan(a *app, p *worker.Policy, at *worker.Located) (*evalWork, error) {
	w := &evalWork{n: 1, tokens: 512, sampling: grouse.Sampling{Temperature: 1, TopP: 1}, stop: c.Stop, key: rng.NewKey(rng.Eval, "eval", c.seed(0))}
	var own []grouse.Domain
	if at.Run != nil {
		spec := at.Run.Spec
		own = activities.EvalDomains(spec)
		w.sampling, w.n, w.tokens = spec.Eval.Sampling, max(1, spec.Eval.N), spec.Eval.MaxTokens
		// The numbers that the run itself draws with: the same completions.
		w.key, w.step = rng.NewKey(rng.Eval, strconv.Itoa(at.Stage), c.seed(spec.Seed)), uint32(at.Step)
		if len(w.stop) == 0 {
			w.stop = spec.Stages[at.Stage].Rollout.Stop
		}
	}
	w.sampling = c.sampling(w.sampling)
	if c.N > 0 {
		w.n = c.N
	}
	if c.MaxTokens > 0 {
		w.tokens = c.MaxTokens
	}
	var err error
	if c.Data == "" {
		if len(own) == 0 {
			return nil, grouse.Errorf(grouse.Invalid, "no data to evaluate on").WithFix("name a file: --data test.jsonl")
		}
		w.data = "held-out data of " + at.Run.Spec.Name
		w.prompts, err = at.EvalPrompts(p, a.home)
	} else {
		w.data = c.Data
		w.prompts, err = c.read(a, p)
	}
	if err != nil {
		return nil, err
	}
	if c.Limit > 0 && c.Limit < len(w.prompts) {
		w.prompts = w.prompts[:c.Limit]
	}
	switch {
	case len(c.Reward) > 0:
		for _, text := range c.Reward {
			r, err := rewardSpec(text)
			if err != nil {
				return nil, err
			}
			w.rewards = append(w.rewards, r)
		}
	case len(own) > 0:
		w.rewards = worker.Rebased(own[0].Rewards, at.Run.Base)
	default:
		return nil, grouse.Errorf(grouse.Invalid, "no reward says what is right").WithFix("name one: --reward math")
	}
	return w, nil
}

func (c *evalCmd) read(a *app, p *worker.Policy) ([]grouse.Prompt, error) {
	spec := grouse.DataSpec{Prompt: c.Prompt, Answer: c.Answer, Template: c.Template, Split: c.Split, Config: c.Config, Limit: c.Limit}
	if name, ok := strings.CutPrefix(c.Data, "hub:"); ok {
		spec.Hub = name
	} else if name, ok := strings.CutPrefix(c.Data, "task:"); ok {
		spec.Task = name
	} else {
		path, err := filepath.Abs(c.Data)
		if err != nil {
			return nil, err
		}
		spec.Path = path
	}
	lines, err := p.ReadLines(spec, worker.ReadOptions{Home: a.home, System: c.System, Plain: c.Plain})
	prompts := make([]grouse.Prompt, len(lines))
	for i, l := range lines {
		prompts[i] = l.Prompt
	}
	return prompts, err
}

// rewardSpec reads a reward's name, or a recipe's block for it as JSON.
func rewardSpec(text string) (grouse.RewardSpec, error) {
	r := grouse.RewardSpec{Use: text, Name: text, Weight: 1}
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return r, nil
	}
	r = grouse.RewardSpec{Weight: 1}
	var all map[string]any
	err := json.Unmarshal([]byte(text), &all)
	if err == nil {
		err = json.Unmarshal([]byte(text), &r)
	}
	if err != nil || r.Use == "" {
		return r, grouse.Errorf(grouse.Invalid, "reward %s is not a JSON object with use", text).WithFix(`write {"use":"exact","column":"answer"}`)
	}
	for _, key := range []string{"use", "name", "weight", "gate", "clip", "deadline_s", "retries", "params"} {
		delete(all, key)
	}
	if len(all) > 0 { // parameters stand beside use, as in a recipe
		r.Params = all
	}
	if r.Name == "" {
		r.Name = r.Use
	}
	return r, nil
}

// judged is what the rewards made of one prompt's completions.
type judged struct {
	right     int
	reward    float64 // sum over the completions
	tokens    int
	truncated int
	failure   string // "": all could be judged
}

// judge scores groups beside generation.
type judge struct {
	ctx   context.Context
	by    *rewards.Composite
	slots chan struct{}
	wg    sync.WaitGroup
	out   []judged
}

func newJudge(ctx context.Context, by *rewards.Composite, n int) *judge {
	return &judge{ctx: ctx, by: by, slots: make(chan struct{}, 4), out: make([]judged, n)}
}

func (j *judge) add(i int, g grouse.Group) {
	j.slots <- struct{}{}
	j.wg.Go(func() {
		defer func() { <-j.slots }()
		j.out[i] = tally(&g, j.by.Score(j.ctx, rewards.NewGroup(&g)))
	})
}

func (j *judge) wait() []judged {
	j.wg.Wait()
	return j.out
}

// tally sums a group's scores up. One completion that could not be judged makes
// the whole group so.
func tally(g *grouse.Group, scores []grouse.Score) judged {
	var out judged
	for i := range g.Rollouts {
		out.tokens += len(g.Rollouts[i].ResponseIDs)
		if g.Rollouts[i].Finish == grouse.FinishLength {
			out.truncated++
		}
	}
	for _, s := range scores {
		switch {
		case s.Outcome != grouse.Scored:
			return judged{tokens: out.tokens, truncated: out.truncated, failure: s.Failure}
		case s.Reward == nil:
			return judged{tokens: out.tokens, truncated: out.truncated, failure: "no reward had an opinion"}
		}
		out.reward += *s.Reward
		if s.Correct != nil && *s.Correct || s.Correct == nil && *s.Reward > 0 {
			out.right++
		}
	}
	return out
}

func (c *evalCmd) print(a *app, w *evalWork, all []judged) error {
	right := make([]int, len(all))
	out := evalReport{Model: c.Model, Data: w.data, Prompts: len(all), N: w.n, Intervals: map[string][2]float64{}}
	total := float64(len(all) * w.n)
	failure := ""
	for i, j := range all {
		right[i] = j.right
		out.Reward += j.reward
		out.Truncated += float64(j.truncated) / total
		out.Length += float64(j.tokens) / total
		if j.failure != "" {
			out.NotJudged++
			failure = j.failure
		}
	}
	if out.NotJudged == len(all) {
		return grouse.Errorf(grouse.Invalid, "no completion could be judged: %s", failure)
	}
	out.Reward /= float64((len(all) - out.NotJudged) * w.n)
	results := passes(right, w.n)
	if failure != "" {
		fmt.Fprintf(a.stderr, "grouse: %d of %d prompts could not be judged and count as wrong: %s\n", out.NotJudged, len(all), failure)
	}
	names := []string{"avg@" + strconv.Itoa(w.n)}
	for k := 1; k <= w.n; k++ {
		names = append(names, "pass@"+strconv.Itoa(k))
	}
	if c.JSON {
		raw, err := json.Marshal(out)
		if err != nil {
			return err
		}
		line := map[string]any{}
		if err := json.Unmarshal(raw, &line); err != nil {
			return err
		}
		for _, name := range names {
			e := results[name]
			line[name] = e.Value
			line["intervals"].(map[string]any)[name] = [2]float64{e.Low, e.High}
		}
		return a.line(line)
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, name := range names {
		e := results[name]
		fmt.Fprintf(t, "%s\t%.4f\t95%%: %.4f to %.4f\n", name, e.Value, e.Low, e.High)
	}
	fmt.Fprintf(t, "reward\t%.4f\t\nprompts\t%d\t%d completions each\nlength\t%.1f\ttokens, %s truncated\n", out.Reward, out.Prompts, w.n, out.Length, percent(out.Truncated))
	return t.Flush()
}
