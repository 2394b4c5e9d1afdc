package worker

import (
	"context"
	"fmt"
	"maps"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/data"
)

// Line is a row of a file that generate or logprobs reads.
type Line struct {
	IDs    []int32
	Prompt grouse.Prompt
}

// ReadOptions say how rows become token ids.
type ReadOptions struct {
	Home   string // where pulled data sets are
	System string // system prompt
	Plain  bool   // no chat template
	Text   bool   // the column text comes before prompt and messages
}

// ReadLines reads the rows of a file of the columns token_ids (as they are),
// prompt or messages (in the chat template unless plain), or text (as it is, with
// what the tokenizer puts around it).
func (p *Policy) ReadLines(spec grouse.DataSpec, o ReadOptions) ([]Line, error) {
	used := *p
	if o.Plain {
		if err := used.setTemplate(""); err != nil {
			return nil, err
		}
	}
	reader := &prompts{home: o.Home, policy: &used}
	var lines []Line
	_, err := data.Load(spec, data.Options{Hub: pulledTables(o.Home), Check: func(r data.Row) error {
		l, err := used.line(reader, r, spec, o)
		if err != nil {
			return err
		}
		for i, id := range l.IDs {
			if id < 0 || int(id) >= p.Model.Config.VocabSize {
				return fmt.Errorf("token %d is %d, the vocabulary has %d ids", i, id, p.Model.Config.VocabSize)
			}
		}
		lines = append(lines, l)
		return nil
	}})
	return lines, err
}

// EvalPrompts returns the held-out prompts of the run that l is a checkpoint of.
func (l *Located) EvalPrompts(p *Policy, home string) ([]grouse.Prompt, error) {
	spec := l.Run.Spec
	held, err := (&prompts{spec: spec, dir: RunDir(home, spec.Name), base: l.Run.Base, home: home, policy: p}).Eval(context.Background())
	out := make([]grouse.Prompt, len(held))
	for i, c := range held {
		out[i] = c.Prompt
	}
	return out, err
}

func (p *Policy) line(reader *prompts, r data.Row, spec grouse.DataSpec, o ReadOptions) (Line, error) {
	var l Line
	if v, ok := r.Columns["token_ids"]; ok {
		ids, err := tokenIDs(v)
		l.IDs = ids
		if err != nil {
			return l, err
		}
		l.Prompt = grouse.Prompt{RowID: r.ID, TokenIDs: ids, Columns: r.Columns}
		if spec.Answer != "" {
			l.Prompt.Columns, err = withAnswer(r.Columns, spec.Answer)
		}
		return l, err
	}
	if p.Tokenizer == nil {
		return l, fmt.Errorf("the model has no tokenizer.json: only rows of token_ids can be used")
	}
	prompted := r.Columns["prompt"] != nil || r.Columns["messages"] != nil
	if text, ok := r.Columns["text"].(string); ok && spec.Prompt == "" && (o.Text || !prompted) {
		l.IDs = p.Tokenizer.Encode(text, true)
		l.Prompt = grouse.Prompt{RowID: r.ID, Text: text, TokenIDs: l.IDs, Columns: r.Columns}
		if len(l.IDs) == 0 {
			return l, fmt.Errorf("the text has no tokens")
		}
		var err error
		if spec.Answer != "" {
			l.Prompt.Columns, err = withAnswer(r.Columns, spec.Answer)
		}
		return l, err
	}
	d := &grouse.Domain{Data: spec, System: o.System}
	if d.Data.Prompt == "" {
		d.Data.Prompt = "prompt"
		if _, ok := r.Columns["messages"]; ok && r.Columns["prompt"] == nil {
			d.Data.Prompt = "messages"
		}
		if !prompted {
			return l, fmt.Errorf("no column prompt, messages, text or token_ids")
		}
	}
	prompt, err := reader.render(r, d)
	l.Prompt, l.IDs = prompt, prompt.TokenIDs
	return l, err
}

// tokenIDs reads a list of whole numbers.
func tokenIDs(v any) ([]int32, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("token_ids is not a list of ids")
	}
	ids := make([]int32, len(list))
	for i, item := range list {
		f, ok := item.(float64)
		if !ok || f != float64(int32(f)) {
			return nil, fmt.Errorf("token_ids: %v is not a token id", item)
		}
		ids[i] = int32(f)
	}
	return ids, nil
}

// column returns a column by its name, or by a dotted path into it:
// reward_model.ground_truth. A column whose own name has dots comes first.
func column(columns map[string]any, path string) (any, bool) {
	if v, ok := columns[path]; ok {
		return v, true
	}
	for i := range path {
		if path[i] != '.' {
			continue
		}
		if inner, ok := columns[path[:i]].(map[string]any); ok {
			if v, ok := column(inner, path[i+1:]); ok {
				return v, true
			}
		}
	}
	return nil, false
}

// withAnswer returns columns whose `answer` is the one at path.
func withAnswer(columns map[string]any, path string) (map[string]any, error) {
	v, ok := column(columns, path)
	if !ok {
		return nil, fmt.Errorf("no column %q, which data.answer names", path)
	}
	out := maps.Clone(columns)
	out["answer"] = v
	return out, nil
}
