// Package jsonapi is the contract of rewards that are not written in Go: what a
// command, an HTTP endpoint, a WebAssembly module or a Python worker is sent and what
// it answers, one JSON object each.
//
//	{"version":1,"row_id":"math/7","domain":"math","prompt":"2+2=","messages":[...],"columns":{"answer":"4"},
//	 "completions":[{"index":0,"text":"4","thinking":"","answer":"4","token_ids":[52],"finish":"stop"}]}
//
//	{"scores":[1]}                                          null: no opinion
//	{"scores":[{"value":1,"correct":true,"numbers":{"steps":3},"explanation":"..."}]}
//	{"error":"the judge is busy","kind":"error","retryable":true}
//
// kind is error, timeout, oom or bad_output. An answer of another form is bad_output.
package jsonapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Version is the request's.
const Version = 1

// Request is what a reward is sent.
type Request struct {
	Version     int              `json:"version"`
	RowID       string           `json:"row_id"`
	Domain      string           `json:"domain"`
	Prompt      string           `json:"prompt"`
	Messages    []grouse.Message `json:"messages,omitempty"`
	Columns     map[string]any   `json:"columns"`
	Completions []Completion     `json:"completions"`
}

// Completion is one of a request.
type Completion struct {
	Index    int                 `json:"index"`
	Text     string              `json:"text"`
	Thinking string              `json:"thinking"`
	Answer   string              `json:"answer"`
	TokenIDs []int32             `json:"token_ids"`
	Finish   grouse.FinishReason `json:"finish"`
}

// NewRequest returns the request for a group.
func NewRequest(g *rewards.Group) Request {
	r := Request{Version: Version, RowID: g.Prompt.RowID, Domain: g.Prompt.Domain, Prompt: g.Prompt.Text, Messages: g.Prompt.Messages, Columns: g.Prompt.Columns,
		Completions: make([]Completion, len(g.Samples))}
	for i := range g.Samples {
		s := &g.Samples[i]
		r.Completions[i] = Completion{Index: s.Index, Text: s.Completion, Thinking: s.Thinking, Answer: s.Answer, TokenIDs: s.TokenIDs, Finish: s.Finish}
	}
	return r
}

// Encode returns a group's request as one line of JSON.
func Encode(g *rewards.Group) ([]byte, error) {
	data, err := json.Marshal(NewRequest(g))
	if err != nil {
		return nil, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: %w", g.Prompt.RowID, err))
	}
	return data, nil
}

// Score is one element of an answer.
type Score struct {
	Value       *float64           `json:"value"` // nil: no opinion
	Correct     *bool              `json:"correct,omitempty"`
	Numbers     map[string]float64 `json:"numbers,omitempty"`
	Explanation string             `json:"explanation,omitempty"`
}

// Decode reads the answer to a group of n completions.
func Decode(data []byte, n int) ([]rewards.Result, error) {
	var answer struct {
		Scores    []json.RawMessage `json:"scores"`
		Error     string            `json:"error"`
		Kind      grouse.Outcome    `json:"kind"`
		Retryable bool              `json:"retryable"`
	}
	if err := strict(data, &answer); err != nil {
		return nil, rewards.Failf(grouse.BadOutput, "the answer is not {\"scores\": [...]}: %w: %s", err, clip(data))
	}
	if answer.Error != "" {
		e := &rewards.Error{Outcome: answer.Kind, Retryable: answer.Retryable, Sample: -1, Err: errors.New(answer.Error)}
		switch answer.Kind {
		case grouse.Errored, grouse.TimedOut, grouse.OOM, grouse.BadOutput:
		default:
			e.Outcome = grouse.Errored
		}
		return nil, e
	}
	if len(answer.Scores) != n {
		return nil, rewards.Failf(grouse.BadOutput, "%d scores for %d completions: %s", len(answer.Scores), n, clip(data))
	}
	out := make([]rewards.Result, n)
	for i, raw := range answer.Scores {
		r, err := decodeScore(raw)
		if err != nil {
			return nil, rewards.AtSample(i, rewards.Failf(grouse.BadOutput, "%w: %s", err, clip(raw)))
		}
		out[i] = r
	}
	return out, nil
}

func decodeScore(raw json.RawMessage) (rewards.Result, error) {
	raw = bytes.TrimSpace(raw)
	if bytes.Equal(raw, []byte("null")) {
		return rewards.Result{NoOpinion: true}, nil
	}
	if len(raw) > 0 && raw[0] == '{' {
		var s Score
		if err := strict(raw, &s); err != nil {
			return rewards.Result{}, err
		}
		r := rewards.Result{Correct: s.Correct, Numbers: s.Numbers, Explanation: s.Explanation, NoOpinion: s.Value == nil}
		if s.Value != nil {
			r.Value = *s.Value
		}
		return r, nil
	}
	var v float64
	if err := json.Unmarshal(raw, &v); err != nil {
		return rewards.Result{}, fmt.Errorf("a score is a number, null or an object")
	}
	return rewards.Result{Value: v}, nil
}

// strict decodes one JSON value and refuses unknown fields and trailing text.
func strict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("text after the JSON value")
	}
	return nil
}

// clip shortens an answer for an error message.
func clip(data []byte) string {
	const most = 200
	if len(data) > most {
		return fmt.Sprintf("%q...", data[:most])
	}
	return fmt.Sprintf("%q", data)
}
