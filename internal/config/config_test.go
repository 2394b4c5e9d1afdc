package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
)

func TestBuiltInRecipesResolve(t *testing.T) {
	names := config.List()
	if len(names) == 0 {
		t.Fatal("no recipes")
	}
	for _, name := range names {
		r, err := config.Load(name, config.Options{})
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, grouse.FixOf(err))
			continue
		}
		saved, err := r.Save()
		if err != nil {
			t.Fatal(err)
		}
		again, err := config.Parse(saved, "saved.yaml", config.Options{})
		if err != nil {
			t.Fatalf("%s: saved recipe: %v", name, err)
		}
		twice, err := again.Save()
		if err != nil || string(twice) != string(saved) {
			t.Errorf("%s: the saved recipe does not read back as itself (%v)", name, err)
		}
	}
}

const small = `
model: ./m
domains:
  d: {data: x.jsonl, rewards: [math]}
`

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ name, recipe, want, fix string }{
		{"unknown key", small + "rollout: {num_generation: 4}\n", `r.yaml:4:11: unknown key "stages[0].rollout.num_generation"`, `did you mean "num_generations"?`},
		{"foreign name", small + "rollout: {n: 4}\n", `unknown key "stages[0].rollout.n"`, "grouse calls it rollout.num_generations"},
		{"wrong type", small + "steps: many\n", `r.yaml:4:1: stages[0].steps: want a whole number, got "many"`, ""},
		{"fraction", small + "steps: 1.5\n", `stages[0].steps: want a whole number, got 1.5`, ""},
		{"unknown preset", "preset: v23\n" + small, `r.yaml:1:1: unknown preset "v23"`, `did you mean "v32"?`},
		{"no model", "domains: {}\n", "no model is given", "model: a Hugging Face folder, a .gguf file, a hub name, or tiny: {...}"},
		{"both corrections", small + "algorithm: {engine_correction: {mode: token_truncate, cap: 2}}\n", "would correct the engine mismatch twice", "set pi_old: recomputed, or engine_correction: {mode: none}"},
		{"estimator without beta", small + "algorithm: {kl_estimator: k3_is}\n", "every domain's beta is 0", "set kl_estimator: none, or a beta above 0"},
		{"kept sets without a bound", small + "rollout: {top_p: 0.9}\n", "kept sampling masks of unbounded size", "set rollout.top_k to at most 512 beside top_p and min_p"},
		{"no such ranks", small + "trainer: {ranks: -1}\n", "r.yaml:4:11: stages[0].trainer.ranks: is -1", "0 (one process) to 1024"},
		{"no masters on the processor", small + "trainer: {bf16_weights: true}\n", "r.yaml:4:11: stages[0].trainer.bf16_weights: cpu trains float32 weights only", "remove it, or set trainer.backend: cuda"},
		{"moments that are there already", small + "trainer: {offload_moments: true}\n", "r.yaml:4:11: stages[0].trainer.offload_moments: cpu has no memory of its own that the moments could leave", "remove it, or set trainer.backend: cuda"},
		{"verl's name", small + "trainer: {optimizer_offload: true}\n", `unknown key "stages[0].trainer.optimizer_offload"`, "grouse calls it trainer.offload_moments"},
		{"twice", small + "steps: 1\nsteps: 2\n", "", ""},
		{"a tracker without a name", small + "trackers: [{project: p}]\n", "r.yaml:4:12: trackers: a tracker needs a name", "for example {use: wandb, key: env:WANDB_API_KEY}"},
		{"an unknown tracker", small + "trackers: [comet]\n", `trackers[0].use: unknown tracker "comet"`, "one of tensorboard, wandb, mlflow, prometheus"},
		{"a secret written out", small + "trackers: [tensorboard, {use: wandb, key: 0badcafe}]\n", "r.yaml:4:26: trackers[1].use: key: a secret is named by reference", ""},
		{"overlong both ways", strings.Replace(small, "[math]", "[math, soft_overlong]", 1) + "algorithm: {mask_truncated_completions: true}\n", "overlong shaping and mask_truncated_completions", "use one of them"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse([]byte(c.recipe[strings.IndexFunc(c.recipe, func(r rune) bool { return r != '\n' }):]), "r.yaml", config.Options{})
			if grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), c.want) || (c.fix != "" && grouse.FixOf(err) != c.fix) {
				t.Fatalf("got %v\nfix %q", err, grouse.FixOf(err))
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	recipe := "preset: dapo\nmodel: ./m\nsteps: 7\nalgorithm: {epsilon: 0.3}\ndomains:\n  d: {data: x.jsonl, rewards: [{use: math, weight: 2, tolerance: 0.1}]}\n"
	r, err := config.Parse([]byte(recipe), "r.yaml", config.Options{Set: []string{"trainer.learning_rate=1e-5"}})
	if err != nil {
		t.Fatal(err)
	}
	s := r.Spec.Stages[0]
	if s.Steps != 7 || s.Algorithm.Epsilon != 0.3 || s.Algorithm.EpsilonHigh != 0.28 || s.Algorithm.AdvantageDDoF != 1 || s.Trainer.LearningRate != 1e-5 {
		t.Fatalf("%+v", s)
	}
	if p := s.Domains[0].Rewards[0]; p.Weight != 2 || p.Params["tolerance"] != 0.1 {
		t.Fatalf("%+v", p)
	}
	for path, want := range map[string]string{
		"stages[0].algorithm.epsilon":        "r.yaml:4:13",
		"stages[0].algorithm.epsilon_high":   "preset dapo",
		"stages[0].algorithm.advantage_ddof": "default",
		"stages[0].trainer.learning_rate":    "--set trainer.learning_rate",
	} {
		if got := r.Origin[path].String(); got != want {
			t.Errorf("%s comes from %q, want %q", path, got, want)
		}
	}
}

func TestPresetsSayWhereTheyComeFrom(t *testing.T) {
	for _, name := range config.Presets() {
		r, err := config.Parse([]byte("preset: "+name+"\n"+small+"      # x\n"), "r.yaml", config.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for path, o := range r.Origin {
			if o.Kind == "preset" && o.Source == "" {
				t.Errorf("%s: %s has no source", name, path)
			}
		}
	}
}

// A tracker is written in short and saved at length, by reference to its secret.
func TestTrackers(t *testing.T) {
	r, err := config.Parse([]byte(strings.TrimLeft(small, "\n")+"trackers: [tensorboard, {use: wandb, project: p, key: env:WANDB_API_KEY}]\n"), "r.yaml", config.Options{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	want := []grouse.TrackerSpec{{Use: "tensorboard"}, {Use: "wandb", Params: map[string]any{"project": "p", "key": "env:WANDB_API_KEY"}}}
	if !reflect.DeepEqual(r.Spec.Trackers, want) {
		t.Errorf("got %+v", r.Spec.Trackers)
	}
	raw, err := r.Save()
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Parse(raw, "saved", config.Options{})
	if err != nil || !reflect.DeepEqual(again.Spec.Trackers, want) {
		t.Errorf("saved and read: %+v, %v", again.Spec.Trackers, err)
	}
}

func TestOverride(t *testing.T) {
	r, err := config.Load("quickstart", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Override([]string{"seed=9", "stages.rl.steps=7", "trainer.learning_rate=0.5", "rollout.temperature=0.75", "eval.top_p=0.5", "checkpoint.every=3",
		"stages.rl.domains.addition.weight=2", "stages.rl.domains.addition.rewards=[{use: regex, pattern: x}]", "trackers=[tensorboard]", "stages.rl.algorithm={delta: 9}"})
	if err != nil {
		t.Fatal(err)
	}
	rl := got.Spec.Stages[len(got.Spec.Stages)-1]
	was := r.Spec.Stages[len(r.Spec.Stages)-1]
	if got.Spec.Seed != 9 || rl.Steps != 7 || rl.Trainer.LearningRate != 0.5 || got.Spec.Stages[0].Trainer.LearningRate != 0.5 || rl.Rollout.Sampling.Temperature != 0.75 ||
		got.Spec.Eval.Sampling.TopP != 0.5 || got.Spec.Checkpoint.Every != 3 || rl.Domains[0].Weight != 2 || rl.Domains[0].Rewards[0].Params["pattern"] != "x" ||
		rl.Domains[0].Rewards[0].Weight != 1 || got.Spec.Trackers[0].Use != "tensorboard" || rl.Algorithm.Delta != 9 {
		t.Errorf("got %+v", got.Spec)
	}
	if rl.Algorithm.Epsilon != was.Algorithm.Epsilon || rl.Rollout.NumGenerations != was.Rollout.NumGenerations || r.Spec.Seed == 9 {
		t.Error("more than what was set has changed")
	}
	for set, want := range map[string]string{
		"steps": "want key=value", "stages.r1.steps=3": "has no \"r1\"", "stages.rl.domains.maths.beta=1": "has no \"maths\"", "model=./other": "cannot be changed", "name=x": "cannot be changed",
		"trainer.lerning_rate=1": "unknown key", "stages.rl=3": "is a list", "seed.x=3": "is not a block", "checkpoint.every=many": "want a whole number", "trackers=[comet]": "unknown tracker",
		"rollout.num_generations=1": "a group of one",
	} {
		if _, err := r.Override([]string{set}); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", set, err, want)
		}
	}
}
