package jsonapi

import (
	"context"
	"encoding/json"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Answer is what a reward answers: scores, or an error.
type Answer struct {
	Scores    []*Score       `json:"scores,omitempty"` // nil: no opinion
	Error     string         `json:"error,omitempty"`
	Kind      grouse.Outcome `json:"kind,omitempty"`
	Retryable bool           `json:"retryable,omitempty"`
}

// Group returns what the request is about, as rewards see it.
func (r *Request) Group() *rewards.Group {
	g := &grouse.Group{Prompt: grouse.Prompt{RowID: r.RowID, Domain: r.Domain, Text: r.Prompt, Messages: r.Messages, Columns: r.Columns}}
	for _, c := range r.Completions {
		g.Rollouts = append(g.Rollouts, grouse.Rollout{Text: c.Text, ResponseIDs: c.TokenIDs, Finish: c.Finish})
	}
	return rewards.NewGroup(g)
}

// Serve judges a request with a reward, which is how a worker of your own, an HTTP
// endpoint or a command serves one that is written in Go. It keeps deadlines and
// panics out, as a run does.
func Serve(ctx context.Context, reward rewards.Reward, request Request) Answer {
	if request.Version != Version {
		return Answer{Error: "the request is of another version", Kind: grouse.Errored}
	}
	results, err := rewards.Call(ctx, reward, request.Group(), 0)
	if err != nil {
		return Answer{Error: err.Error(), Kind: rewards.OutcomeOf(err), Retryable: rewards.Retryable(err)}
	}
	out := Answer{Scores: make([]*Score, len(results))}
	for i, r := range results {
		if r.NoOpinion && r.Numbers == nil && r.Explanation == "" {
			continue
		}
		out.Scores[i] = &Score{Correct: r.Correct, Numbers: r.Numbers, Explanation: r.Explanation}
		if !r.NoOpinion {
			out.Scores[i].Value = &r.Value
		}
	}
	return out
}

// ServeLine is Serve for a line of JSON.
func ServeLine(ctx context.Context, reward rewards.Reward, line []byte) ([]byte, error) {
	var request Request
	answer := Answer{}
	if err := json.Unmarshal(line, &request); err != nil {
		answer = Answer{Error: "the request is no JSON: " + err.Error(), Kind: grouse.Errored}
	} else {
		answer = Serve(ctx, reward, request)
	}
	return json.Marshal(answer)
}
