// Command loop is GRPO in one file: sample groups, reward them, take a step. No
// Temporal, no NATS, no recipe: the parts of grouse that do the work, driven by
// hand. It teaches a tiny transformer to add two-digit numbers.
//
//	go run ./examples/loop
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/internal/tokenizer"
	"github.com/grouse-rl/grouse/rollout/engine"
	"github.com/grouse-rl/grouse/trainer"
)

var (
	seed     = flag.Uint64("seed", 1, "random seed")
	sftSteps = flag.Int("sft-steps", 200, "updates on worked examples")
	sftLR    = flag.Float64("sft-lr", 2e-3, "")
	steps    = flag.Int("steps", 300, "GRPO steps")
	prompts  = flag.Int("prompts", 32, "prompts a step")
	groupG   = flag.Int("group", 8, "completions a prompt")
	lr       = flag.Float64("lr", 2e-4, "")
	updates  = flag.Int("updates", 1, "mini-batches a step")
	iters    = flag.Int("iterations", 1, "passes over a step's rollouts")
	temp     = flag.Float64("temperature", 1, "")
	style    = flag.Int("style", 1, "scratchpad")
	layers   = flag.Int("layers", 4, "")
	width    = flag.Int("width", 128, "")
	beta2    = flag.Float64("beta2", 0.999, "")
	every    = flag.Int("every", 25, "")
	sftN     = flag.Int("sft-n", 500, "worked examples")
	shown    = flag.Int("shown", 60, "of the 100 sums of two digits in the worked examples")
	schedule = flag.String("schedule", "constant", "constant, linear or cosine")
	warmup   = flag.Int("warmup", 10, "updates of warm-up")
	waves    = flag.Int("waves", 3, "generation waves to fill a step")
	format   = flag.Float64("format", 0, "reward of the format alone")
	scale    = flag.String("scale", "mean_std", "")
)

// example is a worked problem.
func example(a, b int) (prompt, completion string) {
	units := a%10 + b%10
	tens := a/10 + b/10 + units/10
	prompt = fmt.Sprintf("%02d+%02d=", a, b)
	switch *style {
	case 1: // units; tens with carry
		return prompt, fmt.Sprintf("<think>%02d;%02d</think><answer>%d</answer>", units, tens, a+b)
	case 2: // written out
		return prompt, fmt.Sprintf("<think>%d+%d=%02d;%d+%d+%d=%02d</think><answer>%d</answer>", a%10, b%10, units, a/10, b/10, units/10, tens, a+b)
	case 3: // in two lookups
		return prompt, fmt.Sprintf("<think>%d+%d=%02d;%d+%d=%02d;%02d</think><answer>%d</answer>", a%10, b%10, units, a/10, b/10, a/10+b/10, tens, a+b)
	}
	panic("style")
}

func main() {
	flag.Parse()
	tok, err := tokenizer.Characters(tokenizer.CharactersSpec{Characters: "0123456789+=;", Special: []string{"<think>", "</think>", "<answer>", "</answer>"}})
	check(err)
	cfg, err := json.Marshal(map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "vocab_size": tok.VocabSize(), "hidden_size": *width, "intermediate_size": *width * 43 / 16,
		"num_hidden_layers": *layers, "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64, "tie_word_embeddings": true,
	})
	check(err)
	config, err := model.ParseConfig(cfg)
	check(err)
	m, err := model.New(cpu.New(0), config)
	check(err)
	m.Init(rng.NewKey(rng.Init, "", *seed))

	// The 10,000 problems: 500 for supervised fine-tuning, 500 held out.
	order := rng.NewKey(rng.Data, "split", *seed)
	stream := order.Stream(0, 0, 0)
	perm := stream.Perm(10000)
	heldOut, rl := perm[500:1000], perm[1000:]
	known := map[int]bool{} // sums of two digits that the worked examples show
	pairs := order.Stream(9, 0, 0)
	for _, p := range pairs.Perm(100)[:*shown] {
		known[p] = true
	}
	var sft []int
	for _, p := range perm[:*sftN] {
		a, b := p/100, p%100
		if known[a%10*10+b%10] && known[a/10*10+b/10] {
			sft = append(sft, p)
		}
	}
	fmt.Printf("%d worked examples\n", len(sft))

	stage := grouse.Stage{Kind: grouse.StageSFT, Steps: *sftSteps, Trainer: grouse.TrainerSpec{LearningRate: *sftLR, Schedule: "cosine", WarmupSteps: 10, Beta1: 0.9, Beta2: *beta2, Eps: 1e-8, MaxGradNorm: 1, MicroBatchTokens: 8192}}
	t, err := trainer.New(m, stage)
	check(err)
	start := time.Now()
	for i := range *sftSteps {
		s := order.Stream(1, uint32(i), 0)
		var batch []trainer.Example
		for range 64 {
			p := sft[s.Below(uint64(len(sft)))]
			prompt, completion := example(p/100, p%100)
			batch = append(batch, trainer.Example{Prompt: tok.Encode(prompt, false), Completion: append(tok.Encode(completion, false), tok.EOS())})
		}
		out, err := t.SFT(context.Background(), batch)
		check(err)
		if i%50 == 49 {
			fmt.Printf("sft %d loss %.4f (%.1fs)\n", i+1, out["loss"], time.Since(start).Seconds())
		}
	}

	e := engine.New(cpu.New(0), engine.Options{})
	defer e.Close()
	fmt.Printf("after sft: held-out accuracy %.3f\n", accuracy(e, m, tok, heldOut))

	stage = grouse.Stage{Kind: grouse.StageRL, Steps: *steps, Trainer: stage.Trainer, Algorithm: grouse.Algorithm{
		Advantage: *scale, AdvantageDDoF: 1, AdvantageEps: 1e-6, Epsilon: 0.2, EpsilonHigh: 0.2,
		LossAggregation: grouse.TokenMean, ImportanceSamplingLevel: grouse.LevelToken, PiOld: grouse.PiOldRollout, KLEstimator: grouse.KLNone,
		EngineCorrection: grouse.EngineCorrection{Mode: "none"}, NumIterations: *iters, MiniBatches: *updates, FilterGroups: grouse.FilterTotal,
	}}
	stage.Trainer.LearningRate, stage.Trainer.WarmupSteps, stage.Trainer.Schedule = *lr, *warmup, *schedule
	t, err = trainer.New(m, stage)
	check(err)
	key := rng.NewKey(rng.Rollout, "rl", *seed)
	start = time.Now()
	var genTime, trainTime time.Duration
	for step := range *steps {
		e.SetPolicy(m, int64(step))
		s := order.Stream(2, uint32(step), 0)
		var groups []grouse.ScoredGroup
		mean, sampled := 0.0, 0
		for wave := 0; len(groups) < *prompts && wave < *waves; wave++ {
			t0 := time.Now()
			var reqs []engine.Request
			var answers []int
			for range *prompts - len(groups) {
				p := rl[s.Below(uint64(len(rl)))]
				prompt, _ := example(p/100, p%100)
				reqs = append(reqs, engine.Request{Prompt: tok.Encode(prompt, false), N: *groupG, MaxTokens: 40, StopIDs: []int32{tok.EOS()},
					Sampling: grouse.Sampling{Temperature: float32(*temp)}, Key: key, Step: uint32(step), Candidate: uint32(sampled),
					Decode: func(ids []int32) string { return tok.Decode(ids, false) }})
				answers = append(answers, p/100+p%100)
				sampled++
			}
			out, err := e.GenerateAll(context.Background(), reqs, nil)
			check(err)
			genTime += time.Since(t0)
			for c, rs := range out {
				g := grouse.ScoredGroup{Group: grouse.Group{Candidate: reqs[c].Candidate, Prompt: grouse.Prompt{TokenIDs: reqs[c].Prompt}, Rollouts: rs, Sampling: reqs[c].Sampling}}
				rewards := make([]float64, len(rs))
				for i := range rs {
					rewards[i] = reward(rs[i].Text, answers[c])
					mean += rewards[i]
					g.Scores = append(g.Scores, grouse.Score{Sample: uint16(i), Reward: &rewards[i], Outcome: grouse.Scored})
				}
				if !grouse.Flat(rewards) {
					groups = append(groups, g)
				}
			}
		}
		mean /= float64(sampled * *groupG)
		t0 := time.Now()
		if len(groups) > 0 {
			res, err := t.Step(context.Background(), groups)
			check(err)
			trainTime += time.Since(t0)
			if step%*every == *every-1 {
				fmt.Printf("step %d reward %.3f groups %d grad %.2f ent %.3f len %.1f (%.1fs: gen %.1f train %.1f) held-out %.3f\n", step+1, mean, len(groups), res.Metrics["grad_norm"], res.Metrics["entropy"], res.Metrics["completions/mean_length"],
					time.Since(start).Seconds(), genTime.Seconds(), trainTime.Seconds(), accuracy(e, m, tok, heldOut))
			}
		}
	}
}

// reward is accuracy plus a little for the format.
func reward(text string, answer int) float64 {
	text = strings.TrimSuffix(text, "<eos>")
	think, rest, ok := strings.Cut(text, "</think><answer>")
	if !ok || !strings.HasPrefix(think, "<think>") || !strings.HasSuffix(rest, "</answer>") {
		return 0
	}
	if strings.TrimSuffix(rest, "</answer>") == fmt.Sprint(answer) {
		return 1
	}
	return *format
}

func accuracy(e *engine.Engine, m *model.Model, tok *tokenizer.Tokenizer, problems []int) float64 {
	e.SetPolicy(m, 0)
	var reqs []engine.Request
	for _, p := range problems {
		prompt, _ := example(p/100, p%100)
		reqs = append(reqs, engine.Request{Prompt: tok.Encode(prompt, false), N: 1, MaxTokens: 40, StopIDs: []int32{tok.EOS()},
			Decode: func(ids []int32) string { return tok.Decode(ids, false) }})
	}
	out, err := e.GenerateAll(context.Background(), reqs, nil)
	check(err)
	right := 0
	for i, rs := range out {
		if reward(rs[0].Text, problems[i]/100+problems[i]%100) == 1 {
			right++
		}
	}
	return float64(right) / float64(len(problems))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
