package rubric

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// params are the parameters of rubric in a recipe.
type params struct {
	Items       any              `json:"items"`
	Column      string           `json:"column"`
	Reference   string           `json:"reference"`
	Judge       map[string]any   `json:"judge"`
	Judges      []map[string]any `json:"judges"` // several: they vote in turn
	Votes       int              `json:"votes"`  // 0: one of each judge
	Quorum      int              `json:"quorum"`
	Attempts    int              `json:"attempts"`
	Retries     int              `json:"judge_retries"`
	Concurrency int              `json:"concurrency"`
	PerMinute   int              `json:"per_minute"`
	Questions   int              `json:"max_questions"`
	Tokens      int              `json:"max_total_tokens"`
	Cost        float64          `json:"max_cost"`
	Price       [2]float64       `json:"price"`
	Memo        string           `json:"memo"`
}

// NewReward makes the reward rubric from a recipe's parameters. engines are judges
// besides openai, by the name of judge.engine.
func NewReward(given map[string]any, engines map[string]func(judge map[string]any) (Judge, error)) (rewards.Reward, error) {
	p := params{Column: "rubric", Attempts: 3, Retries: 4, Concurrency: 8}
	if err := rewards.Decode(given, &p); err != nil {
		return nil, err
	}
	list := p.Judges
	if p.Judge != nil {
		list = append([]map[string]any{p.Judge}, list...)
	}
	var judges []Judge
	for _, block := range list {
		j, err := newJudge(block, engines)
		if err != nil {
			return nil, err
		}
		judges = append(judges, j)
	}
	if p.Votes == 0 {
		p.Votes = len(judges)
	}
	o := Options{Column: p.Column, Reference: p.Reference, Votes: p.Votes, Quorum: p.Quorum, Attempts: p.Attempts, Retries: p.Retries, Concurrency: p.Concurrency,
		PerMinute: p.PerMinute, Budget: Budget{Questions: p.Questions, Tokens: p.Tokens, Cost: p.Cost, Price: p.Price}}
	var err error
	if p.Items != nil {
		if o.Items, err = Parse(p.Items); err != nil {
			return nil, err
		}
	}
	if p.Memo != "" {
		if o.Memo, err = NewFolder(p.Memo); err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "memo: %w", err).WithFix("set memo to a folder that can be written, or leave it out")
		}
	}
	return New(o, judges...)
}

// newJudge makes a judge from its block.
func newJudge(block map[string]any, engines map[string]func(judge map[string]any) (Judge, error)) (Judge, error) {
	engine, _ := block["engine"].(string)
	if make := engines[engine]; make != nil {
		return make(block)
	}
	if engine != "openai" {
		names := "openai"
		for name := range engines {
			names += ", " + name
		}
		return nil, grouse.Errorf(grouse.Invalid, "unknown judge engine %q", engine).WithFix("write judge: {engine: openai, url: http://HOST:PORT/v1, model: NAME}; engines: %s", names)
	}
	var j OpenAIOptions
	if err := rewards.Decode(block, &j); err != nil {
		return nil, err
	}
	return NewOpenAI(j)
}
