package worker

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/chat"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/builtin"
	"github.com/grouse-rl/grouse/rewards/rubric"
	"github.com/grouse-rl/grouse/rollout/engine"
)

// judges are the rubric's judges besides an endpoint: a checkpoint on our engine and
// a person.
func judges(home string) builtin.Judges {
	return builtin.Judges{
		"local": func(block map[string]any) (rubric.Judge, error) { return newLocalJudge(home, block) },
		"human": func(block map[string]any) (rubric.Judge, error) {
			o := struct {
				Engine string `json:"engine"`
				Dir    string `json:"dir"`
			}{Dir: JudgeDir(home)}
			if err := rewards.Decode(block, &o); err != nil {
				return nil, err
			}
			return rubric.NewHuman(o.Dir)
		},
	}
}

// JudgeDir is where questions for people wait, unless a recipe says otherwise.
func JudgeDir(home string) string { return filepath.Join(home, "judge") }

// localJudge is a checkpoint that judges. It is loaded with the first question.
type localJudge struct {
	at          *Located
	maxTokens   int
	temperature float32

	once   sync.Once
	err    error
	policy *Policy
	engine *engine.Engine
	name   string
}

func newLocalJudge(home string, block map[string]any) (rubric.Judge, error) {
	o := struct {
		Engine      string  `json:"engine"`
		Model       string  `json:"model"`
		MaxTokens   int     `json:"max_tokens"`
		Temperature float32 `json:"temperature"`
	}{MaxTokens: 512}
	if err := rewards.Decode(block, &o); err != nil {
		return nil, err
	}
	if o.Model == "" || o.MaxTokens < 1 || !(o.Temperature >= 0) {
		return nil, grouse.Errorf(grouse.Invalid, "judge: model %q, max_tokens %d, temperature %v", o.Model, o.MaxTokens, o.Temperature).
			WithFix("write judge: {engine: local, model: RUN, FOLDER, FILE.gguf or ORG/NAME}")
	}
	at, err := Locate(home, o.Model)
	if err != nil {
		return nil, fmt.Errorf("judge: %w", err)
	}
	return &localJudge{at: at, maxTokens: o.MaxTokens, temperature: o.Temperature, name: fmt.Sprintf("local %s %s max_tokens %d temperature %v", at, at.Chain, o.MaxTokens, o.Temperature)}, nil
}

// Name names the checkpoint and the settings. A folder whose weights change keeps its
// name: who judges with such a one uses another memo.
func (j *localJudge) Name() string { return j.name }

func (j *localJudge) load() {
	template := ""
	if j.at.Run != nil {
		template = j.at.Run.Spec.Model.ChatTemplate
	}
	dev := cpu.New(0)
	if j.policy, j.err = Open(dev, j.at.Path, template); j.err != nil {
		return
	}
	j.engine = engine.New(cpu.New(0), engine.Options{})
	j.engine.SetPolicy(j.policy.Model, 0)
}

// Ask generates a reply. The same question has the same reply.
func (j *localJudge) Ask(ctx context.Context, q rubric.Question) (rubric.Reply, error) {
	if j.once.Do(j.load); j.err != nil {
		return rubric.Reply{}, rewards.Fail(j.err)
	}
	ids, err := j.encode(q)
	if err != nil {
		return rubric.Reply{}, err
	}
	if room := j.policy.Model.Config.MaxPositions - j.maxTokens; j.policy.Model.Config.MaxPositions > 0 && len(ids) > room {
		return rubric.Reply{}, rewards.Failf(grouse.Errored, "judge %s: the question has %d tokens, its context has room for %d", j.at, len(ids), room)
	}
	out, err := j.engine.Generate(ctx, engine.Request{Prompt: ids, N: 1, Sampling: grouse.Sampling{Temperature: j.temperature, TopP: 1}, MaxTokens: j.maxTokens,
		StopIDs: j.policy.StopIDs(), Decode: j.policy.Decode, Key: rng.NewKey(rng.Eval, "judge", uint64(q.Seed))})
	if err != nil {
		return rubric.Reply{}, err
	}
	return rubric.Reply{Text: out[0].Text, Tokens: [2]int{len(ids), len(out[0].ResponseIDs)}}, nil
}

// encode makes the prompt. What is special to the tokenizer loses that in the
// question: a completion must not end the judge's turn.
func (j *localJudge) encode(q rubric.Question) ([]int32, error) {
	user := q.User
	for _, id := range slices.Sorted(maps.Keys(j.policy.Tokenizer.SpecialIDs())) {
		if token, ok := j.policy.Tokenizer.Token(id); ok && len(token) > 1 {
			user = strings.ReplaceAll(user, token, token[:1]+" "+token[1:])
		}
	}
	if j.policy.Template.Plain() {
		return j.policy.Tokenizer.Encode(q.System+"\n\n"+user, true), nil
	}
	o := chat.Options{AddGenerationPrompt: true}
	o.BOS, _ = j.policy.Tokenizer.Token(j.policy.Tokenizer.BOS())
	o.EOS, _ = j.policy.Tokenizer.Token(j.policy.Tokenizer.EOS())
	text, err := j.policy.Template.Render([]grouse.Message{{Role: "system", Content: q.System}, {Role: "user", Content: user}}, o)
	if err != nil {
		return nil, rewards.Fail(fmt.Errorf("judge %s: %w", j.at, err))
	}
	return j.policy.Tokenizer.Encode(text, false), nil
}

var _ rubric.Judge = (*localJudge)(nil)
