package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/chat"
	"github.com/grouse-rl/grouse/internal/data"
	"github.com/grouse-rl/grouse/internal/durable"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/trainer"
)

// prompts is the data of a run: rows rendered by the chat template and tokenized.
type prompts struct {
	spec   grouse.RunSpec
	dir    string // of the run: rejection sampling keeps its rows there
	base   string // relative paths start here
	home   string // pulled data sets lie below
	policy *Policy

	mu   sync.Mutex
	sets map[string]*domainSet // by "stage/domain"
	held []activities.Candidate
}

var _ activities.Prompts = (*prompts)(nil)

// Keep stores what rejection sampling kept: the rows of a later sft stage.
func (p *prompts) Keep(_ context.Context, stage int, rows []activities.KeptRow) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, r := range rows {
		row := map[string]any{}
		for k, v := range r.Prompt.Columns {
			row[k] = v
		}
		row["id"] = fmt.Sprintf("%s/%s/%d", r.Prompt.Domain, r.Prompt.RowID, r.Rollout.Sample)
		row["prompt"], row["completion"], row["reward"] = r.Prompt.Text, r.Rollout.Text, r.Reward
		if r.Prompt.Messages != nil {
			row["prompt"] = r.Prompt.Messages
		}
		if err := enc.Encode(row); err != nil {
			return grouse.Errorf(grouse.Internal, "keep: %w", err)
		}
	}
	return durable.WriteFile(p.keptFile(p.spec.Stages[stage].Name), b.Bytes())
}

// domainSet is the rows of one domain of one stage.
type domainSet struct {
	rows    []data.Row
	prompts []grouse.Prompt
	ids     map[string]int // of prompts, by row id; made by byID
}

func (p *prompts) load(domain *grouse.Domain, maxPrompt int, extra func(data.Row) error) (*domainSet, error) {
	spec := domain.Data
	if spec.Stage != "" {
		spec = grouse.DataSpec{Path: p.keptFile(spec.Stage), Prompt: spec.Prompt, Answer: spec.Answer, Completion: spec.Completion}
	}
	if err := p.toggles(domain); err != nil {
		return nil, err
	}
	set := &domainSet{}
	if extra == nil {
		extra = func(data.Row) error { return nil }
	}
	rows, err := data.Load(spec, data.Options{Base: p.base, OnBad: p.spec.OnBadRow, Hub: pulledTables(p.home), Check: func(r data.Row) error {
		prompt, err := p.render(r, domain)
		if err != nil {
			return err
		}
		if maxPrompt > 0 && len(prompt.TokenIDs) > maxPrompt {
			return fmt.Errorf("the prompt has %d tokens, max_prompt_length is %d", len(prompt.TokenIDs), maxPrompt)
		}
		if err := extra(r); err != nil {
			return err
		}
		set.prompts = append(set.prompts, prompt)
		return nil
	}})
	if err != nil {
		return nil, fmt.Errorf("domain %s: %w", domain.Name, err)
	}
	set.rows = rows.Rows
	return set, nil
}

// render makes a row's prompt: its text or messages, in the chat template.
func (p *prompts) render(r data.Row, d *grouse.Domain) (grouse.Prompt, error) {
	out := grouse.Prompt{RowID: r.ID, Domain: d.Name, Columns: r.Columns}
	if d.Data.Answer != "" && d.Data.Answer != "answer" {
		columns, err := withAnswer(r.Columns, d.Data.Answer)
		if err != nil {
			return out, err
		}
		out.Columns = columns
	}
	messages, err := messagesOf(r, d)
	if err != nil {
		return out, err
	}
	if p.policy.Template.Plain() {
		var text strings.Builder
		for _, m := range messages {
			text.WriteString(m.Content)
		}
		out.Text = text.String()
	} else {
		o := chat.Options{AddGenerationPrompt: true}
		o.BOS, _ = p.policy.Tokenizer.Token(p.policy.Tokenizer.BOS())
		o.EOS, _ = p.policy.Tokenizer.Token(p.policy.Tokenizer.EOS())
		if thinking := d.Thinking == "true" || (d.Thinking == "mixed" && coin(p.spec.Seed, r.ID)); d.Thinking != "" {
			o.Vars = toggle(thinking)
		}
		out.Messages = messages
		if out.Text, err = p.policy.Template.Render(messages, o); err != nil {
			return out, err
		}
	}
	out.TokenIDs = p.policy.Tokenizer.Encode(out.Text, p.policy.Template.Plain())
	if len(out.TokenIDs) == 0 {
		return out, fmt.Errorf("the prompt has no tokens")
	}
	return out, nil
}

// toggles refuses a domain's thinking if the chat template does the same with and
// without it.
func (p *prompts) toggles(d *grouse.Domain) error {
	if d.Thinking == "" {
		return nil
	}
	var texts [2]string
	if !p.policy.Template.Plain() {
		for i, thinking := range []bool{false, true} {
			text, err := p.policy.Template.Render([]grouse.Message{{Role: "user", Content: "?"}}, chat.Options{AddGenerationPrompt: true, Vars: toggle(thinking)})
			if err != nil {
				return nil // it wants more than that; the rows will tell
			}
			texts[i] = text
		}
	}
	if texts[0] == texts[1] {
		return grouse.Errorf(grouse.Invalid, "domain %s: thinking: %s has no effect: the chat template has no toggle (thinking, enable_thinking)", d.Name, d.Thinking).
			WithFix("remove thinking, or name a template that has one: model.chat_template")
	}
	return nil
}

// toggle has the variables by which hybrid models' templates turn thinking on and off:
// DeepSeek-V3.1's and Qwen3's.
func toggle(thinking bool) map[string]any {
	return map[string]any{"enable_thinking": thinking, "thinking": thinking}
}

// coin is a fair coin for a row, the same in every process.
func coin(seed uint64, id string) bool {
	h := fnv.New32a()
	h.Write([]byte(id))
	return rng.NewKey(rng.Data, "thinking", seed).Uniform(h.Sum32(), 0, 0, 0) < 0.5
}

// messagesOf reads the prompt column: a text, or a list of messages.
func messagesOf(r data.Row, d *grouse.Domain) ([]grouse.Message, error) {
	column := d.Data.Prompt
	if column == "" {
		column = "prompt"
	}
	var out []grouse.Message
	if d.System != "" {
		system, err := fill(d.System, r.Columns)
		if err != nil {
			return nil, fmt.Errorf("system: %w", err)
		}
		out = append(out, grouse.Message{Role: "system", Content: system})
	}
	switch v := r.Columns[column].(type) {
	case string:
		if d.Data.Template != "" {
			v = strings.ReplaceAll(d.Data.Template, "{prompt}", v)
		}
		return append(out, grouse.Message{Role: "user", Content: v}), nil
	case []any:
		for i, item := range v {
			m, ok := item.(map[string]any)
			role, _ := m["role"].(string)
			content, isText := m["content"].(string)
			if !ok || role == "" || !isText {
				return nil, fmt.Errorf("column %q: message %d is not {role, content}", column, i)
			}
			out = append(out, grouse.Message{Role: role, Content: content})
		}
		return out, nil
	case nil:
		return nil, fmt.Errorf("no column %q", column)
	default:
		return nil, fmt.Errorf("column %q is a %T, want text or messages", column, v)
	}
}

var named = regexp.MustCompile(`\{\{([A-Za-z_][A-Za-z0-9_.]*)\}\}`)

// fill puts a row's columns where a text names them: "Reasoning: {{effort}}".
func fill(text string, columns map[string]any) (string, error) {
	var missing error
	text = named.ReplaceAllStringFunc(text, func(m string) string {
		name := m[2 : len(m)-2]
		switch v, _ := column(columns, name); v := v.(type) {
		case string:
			return v
		case float64, bool:
			return fmt.Sprint(v)
		}
		missing = fmt.Errorf("%s: the row has no column %q of text, a number or true and false", m, name)
		return m
	})
	return text, missing
}

func (p *prompts) domain(stage int, d *grouse.Domain, extra func(data.Row) error) (*domainSet, error) {
	key := fmt.Sprintf("%d/%s", stage, d.Name)
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sets[key]; s != nil {
		return s, nil
	}
	limit := p.spec.Stages[stage].Rollout.MaxPromptLength
	if p.spec.Stages[stage].Kind == grouse.StageSFT {
		limit = 0
	}
	s, err := p.load(d, limit, extra)
	if err != nil {
		return nil, err
	}
	if p.sets == nil {
		p.sets = map[string]*domainSet{}
	}
	p.sets[key] = s
	return s, nil
}

// Draw picks the candidates of a wave. Domains get their shares of each wave.
// Within a domain wave 0 walks through a permutation of the rows, a new one each
// time round; later waves, and the curricula that weigh rows, draw at random.
func (p *prompts) Draw(_ context.Context, req activities.DrawRequest) ([]activities.Candidate, error) {
	stage := &p.spec.Stages[req.Stage]
	weights := make([]float64, len(stage.Domains))
	sets := make([]*domainSet, len(stage.Domains))
	for i := range stage.Domains {
		var err error
		if sets[i], err = p.domain(req.Stage, &stage.Domains[i], nil); err != nil {
			return nil, err
		}
		weights[i] = stage.Domains[i].Weight
	}
	key := rng.NewKey(rng.Data, fmt.Sprint(req.Stage), p.spec.Seed)
	shares := grouse.Shares(weights, req.N, float64(key.Uniform(0, uint32(req.First), 0, uint32(req.Step))))
	count := make([]int, len(sets))
	for _, d := range shares {
		count[d]++
	}
	rows := make([][]int, len(sets)) // drawn, in order
	for d := range sets {
		var err error
		if rows[d], err = p.drawRows(req, key, d, count[d], sets[d]); err != nil {
			return nil, err
		}
	}
	var out []activities.Candidate
	for _, d := range shares {
		if len(rows[d]) == 0 {
			continue // the domain has no more
		}
		row := rows[d][0]
		rows[d] = rows[d][1:]
		out = append(out, activities.Candidate{Candidate: req.First + uint32(len(out)), Prompt: sets[d].prompts[row]})
	}
	return out, nil
}

func (p *prompts) drawRows(req activities.DrawRequest, key rng.Key, d, n int, set *domainSet) ([]int, error) {
	alg := &p.spec.Stages[req.Stage].Algorithm
	if alg.Curriculum == "uniform" && alg.RetirePassRate == 0 && req.First == 0 {
		stage := &p.spec.Stages[req.Stage]
		total := 0.0
		for _, dom := range stage.Domains {
			total += dom.Weight
		}
		share := float64(stage.Rollout.PromptsPerStep) * stage.Domains[d].Weight / total
		return walk(req.Step, share, key, d, n, len(set.rows)), nil
	}
	solved, err := req.Solved()
	if err != nil {
		return nil, err
	}
	records := make([]grouse.SolveRecord, len(set.rows))
	for i, r := range set.rows {
		records[i] = solved[r.ID]
		records[i].RowID = r.ID
	}
	weights := grouse.DrawWeights(alg.Curriculum, alg.RetirePassRate, records)
	for i, r := range set.rows {
		if req.Exclude[r.ID] {
			weights[i] = 0
		}
	}
	us := make([]float64, n)
	for i := range us {
		us[i] = float64(key.Uniform(1, uint32(d), req.First+uint32(i), uint32(req.Step)))
	}
	return grouse.DrawWithout(weights, us), nil
}

// walk returns n rows of the domain's endless sequence of permutations. Each
// step begins where its predecessors' expected shares end, so a row comes back
// only after all others have been seen, rounding aside.
func walk(step int64, share float64, key rng.Key, d, n, rows int) []int {
	var out []int
	seen := map[int]bool{}
	var perm []int
	round := int64(-1)
	for at := int64(float64(step-1) * share); len(out) < min(n, rows); at++ {
		if r := at / int64(rows); r != round {
			s := key.Stream(uint32(d), uint32(r), 2)
			perm, round = s.Perm(rows), r
		}
		if row := perm[at%int64(rows)]; !seen[row] {
			seen[row] = true
			out = append(out, row)
		}
	}
	return out
}

// Eval returns the held-out prompts.
func (p *prompts) Eval(context.Context) ([]activities.Candidate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		return p.held, nil
	}
	domains := activities.EvalDomains(p.spec)
	if len(domains) == 0 {
		return nil, nil
	}
	d := domains[0]
	if d.System == "" && d.Thinking == "" { // as in training
		for _, s := range p.spec.Stages {
			for _, t := range s.Domains {
				if t.Name == d.Name && s.Kind == grouse.StageRL {
					d.System, d.Thinking = t.System, t.Thinking
				}
			}
		}
	}
	set, err := p.load(&d, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	if n := p.spec.Eval.Limit; n > 0 && n < len(set.prompts) {
		set.prompts = set.prompts[:n]
	}
	for i, prompt := range set.prompts {
		p.held = append(p.held, activities.Candidate{Candidate: uint32(i), Prompt: prompt})
	}
	return p.held, nil
}

// Reject returns the prompts of a rejection-sampling stage.
func (p *prompts) Reject(_ context.Context, stage int) ([]activities.Candidate, error) {
	s := &p.spec.Stages[stage]
	var out []activities.Candidate
	for i := range s.Domains {
		set, err := p.domain(stage, &s.Domains[i], nil)
		if err != nil {
			return nil, err
		}
		for _, prompt := range set.prompts {
			if s.Reject.Prompts > 0 && len(out) == s.Reject.Prompts {
				break
			}
			out = append(out, activities.Candidate{Candidate: uint32(len(out)), Prompt: prompt})
		}
	}
	return out, nil
}

func (p *prompts) keptFile(stage string) string { return filepath.Join(p.dir, "kept", stage+".jsonl") }

// examples returns the worked examples of an sft stage, domains one after the
// other.
func (p *prompts) examples(stage int) ([]trainer.Example, []string, error) {
	s := &p.spec.Stages[stage]
	var out []trainer.Example
	var names []string
	for i := range s.Domains {
		d := &s.Domains[i]
		column := d.Data.Completion
		if column == "" {
			column = "completion"
		}
		completion := func(r data.Row) ([]int32, error) {
			text, ok := r.Columns[column].(string)
			if !ok || text == "" {
				return nil, fmt.Errorf("no text in column %q, which an sft stage learns from", column)
			}
			ids := p.policy.Tokenizer.Encode(text, false)
			if eos := p.policy.Tokenizer.EOS(); eos >= 0 && (len(ids) == 0 || ids[len(ids)-1] != eos) {
				ids = append(ids, eos)
			}
			return ids, nil
		}
		set, err := p.domain(stage, d, func(r data.Row) error {
			_, err := completion(r)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		for j, r := range set.rows {
			ids, err := completion(r)
			if err != nil {
				return nil, nil, err
			}
			if n := len(set.prompts[j].TokenIDs) + len(ids); n > s.SFT.MaxLength {
				if p.spec.OnBadRow == "skip" {
					continue
				}
				return nil, nil, grouse.Errorf(grouse.Invalid, "%s: the example has %d tokens, sft.max_length is %d", r.Where, n, s.SFT.MaxLength).
					WithFix("raise sft.max_length, or set on_bad_row: skip")
			}
			out = append(out, trainer.Example{Prompt: set.prompts[j].TokenIDs, Completion: ids})
			names = append(names, d.Name+"/"+r.ID)
		}
	}
	return out, names, nil
}
