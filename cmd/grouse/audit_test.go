package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/internal/worker"
)

// smallRecipe takes seconds: some supervised updates, then some steps with a
// reference policy, on a reward that a bad model gets now and then.
const smallRecipe = `
model:
  tiny:
    {architectures: [LlamaForCausalLM], hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2,
     max_position_embeddings: 64, tie_word_embeddings: true, tokenizer: {characters: "0123456789+=;", special: ["<think>", "</think>", "<answer>", "</answer>"]}}
  chat_template: none
stages:
  - {name: sft, kind: sft, steps: 20, domains: {addition: {data: {task: addition, split: sft}}}, sft: {batch_size: 16, max_length: 64}}
  - name: rl
    kind: rl
    steps: 5
    domains:
      addition: {data: {task: addition, split: rl}, rewards: [{use: regex, pattern: "5"}]}
    rollout: {num_generations: 8, prompts_per_step: 6, max_completion_length: 12}
    algorithm: {beta: 0.01, kl_estimator: k3_is, max_waves: 3}
    trainer: {learning_rate: 1.0e-3}
eval: {data: {task: addition, split: eval}, domain: addition, limit: 30, temperature: 1.0}
checkpoint: {every: 2}
`

func smallRun(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	path := filepath.Join(t.TempDir(), "small.yaml")
	if err := os.WriteFile(path, []byte(smallRecipe), 0o644); err != nil {
		t.Fatal(err)
	}
	grouseIn(t, home, 0, "run", path, "--name", "small", "--json")
	return home
}

// forge copies a run, its records changed by edit, to a home of its own. The new
// ledger's own chain is whole: only what the records say is not.
func forge(t *testing.T, home string, edit func([]grouse.Record) []grouse.Record) string {
	t.Helper()
	from, to := worker.RunDir(home, "small"), t.TempDir()
	dir := worker.RunDir(to, "small")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ledger", "LOCK"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var recs []grouse.Record
	for e, err := range ledger.Read(from) {
		if err != nil {
			t.Fatal(err)
		}
		rec, err := e.Record()
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, rec)
	}
	w, err := ledger.Open(dir, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Append(context.Background(), edit(recs)...); err != nil {
		t.Fatal(err)
	}
	return to
}

// change edits the records of one type.
func change[T grouse.Record](edit func(i int, r T) T) func([]grouse.Record) []grouse.Record {
	return func(recs []grouse.Record) []grouse.Record {
		n := 0
		for i, rec := range recs {
			if r, ok := rec.(T); ok {
				recs[i] = edit(n, r)
				n++
			}
		}
		return recs
	}
}

func TestAuditAndReplay(t *testing.T) {
	home := smallRun(t)
	out, _ := grouseIn(t, home, 0, "audit", "small", "--json")
	got := jsonLines[worker.AuditResult](t, out)[0]
	if got.Steps != 5 || got.SFTUpdates != 20 || got.Stages != 2 || got.Drawn != got.Trained+got.Filtered+got.Failed || got.Drawn < 30 || got.Trained == 0 ||
		got.Completions != 8*got.Trained || got.Whole == 0 || got.Whole+got.Pruned != got.Checkpoints || got.Pending || len(got.Unrecorded) != 0 || got.Evals != 2 {
		t.Errorf("audit: %+v", got)
	}
	out, _ = grouseIn(t, home, 0, "show", "small", "--json")
	info := jsonLines[worker.RunInfo](t, out)[0]
	raw, err := os.ReadFile(filepath.Join(worker.RunDir(home, "small"), worker.DoneFile))
	if err != nil {
		t.Fatal(err)
	}
	var end done
	if err := json.Unmarshal(raw, &end); err != nil {
		t.Fatal(err)
	}

	t.Run("replay", func(t *testing.T) {
		before := tree(t, worker.RunDir(home, "small"))
		out, _ := grouseIn(t, home, 0, "replay", "small", "--json")
		r := jsonLines[worker.ReplayResult](t, out)[0]
		if r.Chain != info.Chain || r.Weights != end.WeightsSHA256 || r.Steps != 5 || r.SFT != 20 || r.Checkpoints != got.Checkpoints {
			t.Errorf("replay: %+v, want chain %s, weights %s, %d checkpoints", r, info.Chain, end.WeightsSHA256, got.Checkpoints)
		}
		out, _ = grouseIn(t, home, 0, "replay", "small", "--to", "2", "--json")
		if r := jsonLines[worker.ReplayResult](t, out)[0]; r.Step != 2 || r.Steps != 2 || r.Chain == info.Chain {
			t.Errorf("replay --to 2: %+v", r)
		}
		if after := tree(t, worker.RunDir(home, "small")); !slices.Equal(before, after) {
			t.Errorf("the run's folder changed: %v, was %v", after, before)
		}
	})

	// A run is judged as it judged itself: the same completions, the same share.
	t.Run("eval", func(t *testing.T) {
		out, _ := grouseIn(t, home, 0, "eval", "small", "--json")
		again := jsonLines[map[string]any](t, out)[0]
		var rec grouse.EvalRecord
		for e, err := range ledger.Read(worker.RunDir(home, "small")) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == grouse.RecordEval {
				r, err := e.Record()
				if err != nil {
					t.Fatal(err)
				}
				rec = r.(grouse.EvalRecord) // the last
			}
		}
		if again["avg@1"] != rec.Stats["eval/accuracy"] || again["prompts"] != 30.0 || again["reward"] == 0.0 {
			t.Errorf("eval %v, the run recorded %v", again, rec.Stats)
		}
		if diff := again["reward"].(float64) - rec.Stats["eval/reward"]; diff > 1e-12 || diff < -1e-12 {
			t.Errorf("reward %v, the run recorded %v", again["reward"], rec.Stats)
		}
	})

	t.Run("checkpoints by name", func(t *testing.T) {
		for _, name := range []string{"small@5", "small@step-000005", "small"} {
			at, err := worker.Locate(home, name)
			if err != nil || at.Step != 5 || at.Chain != info.Chain {
				t.Errorf("%s: %+v %v", name, at, err)
			}
		}
		for _, name := range []string{"small@3", "small@../x", "small@.tmp"} {
			if at, err := worker.Locate(home, name); err == nil {
				t.Errorf("%s: %+v", name, at)
			}
		}
	})

	rechain := func(recs []grouse.Record) []grouse.Record { // the last step's chain, as its statistics say
		for i := len(recs) - 1; ; i-- {
			if r, ok := recs[i].(grouse.StepRecord); ok {
				var err error
				if r.Chain, err = grouse.Chain(r.PrevChain, r.BatchSHA256, r.Stats); err != nil {
					t.Fatal(err)
				}
				recs[i] = r
				return recs[:i+1]
			}
		}
	}
	for name, c := range map[string]struct {
		want string
		edit func([]grouse.Record) []grouse.Record
	}{
		"a prompt lost": {"have a final state", change(func(i int, r grouse.GroupRecord) grouse.GroupRecord {
			r.Groups = r.Groups[1:]
			return r
		})},
		"a prompt twice": {"was drawn, the final state is that of", change(func(i int, r grouse.GroupRecord) grouse.GroupRecord {
			r.Groups[1] = r.Groups[0]
			return r
		})},
		"a group filtered that was scored": {"its final state is", change(func(i int, r grouse.GroupRecord) grouse.GroupRecord {
			for k := range r.Groups {
				if r.Groups[k].State == grouse.GroupTrained {
					r.Groups[k].State = grouse.GroupFiltered
				}
			}
			return r
		})},
		"a batch of other groups": {"has SHA-256", change(func(i int, r grouse.BatchRecord) grouse.BatchRecord {
			r.Groups, r.Scores = r.Scores, r.Groups
			return r
		})},
		"a statistic": {"the batch says", change(func(i int, r grouse.StepRecord) grouse.StepRecord {
			r.Stats["groups/admitted"]++
			return r
		})},
		"a loss": {"the chain is", change(func(i int, r grouse.StepRecord) grouse.StepRecord {
			r.Stats["grad_norm"] += 1e-9
			return r
		})},
		"an sft loss": {"the chain is", change(func(i int, r grouse.SFTRecord) grouse.SFTRecord {
			r.Stats["loss"] += 1e-9
			return r
		})},
		"a step left out": {"comes after version", func(recs []grouse.Record) []grouse.Record {
			return slices.DeleteFunc(recs, func(r grouse.Record) bool {
				key, ok := r.(interface{ RecordKey() string })
				return ok && strings.HasPrefix(key.RecordKey(), grouse.StepKey(1, 3))
			})
		}},
		"other initial weights": {"H_0", change(func(i int, r grouse.RunRecord) grouse.RunRecord {
			r.WeightsSHA256 = strings.Repeat("0", 64)
			return r
		})},
		"another recipe": {"the recipe in the ledger", change(func(i int, r grouse.RunRecord) grouse.RunRecord {
			r.Spec = json.RawMessage(strings.Replace(string(r.Spec), `"seed":1`, `"seed":2`, 1))
			return r
		})},
		"another checkpoint": {"its weights have SHA-256", change(func(i int, r grouse.CheckpointRecord) grouse.CheckpointRecord {
			r.WeightsSHA256 = strings.Repeat("0", 64)
			return r
		})},
		"an evaluation of other weights": {"the evaluation", change(func(i int, r grouse.EvalRecord) grouse.EvalRecord {
			r.Chain = strings.Repeat("0", 64)
			return r
		})},
		"no step after the last batch": {"never trained on", func(recs []grouse.Record) []grouse.Record {
			for i := len(recs) - 1; ; i-- {
				if _, ok := recs[i].(grouse.StepRecord); ok {
					return recs[:i]
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, errs := grouseIn(t, forge(t, home, c.edit), exitFailed, "audit", "small"); !strings.Contains(errs, c.want) {
				t.Errorf("%s, want %q", errs, c.want)
			}
		})
	}

	// What a forger makes consistent is still not what training comes to.
	t.Run("a forged step", func(t *testing.T) {
		forged := forge(t, home, func(recs []grouse.Record) []grouse.Record {
			last := change(func(i int, r grouse.StepRecord) grouse.StepRecord {
				if i == 4 {
					r.Stats["grad_norm"] += 1e-9
				}
				return r
			})(recs)
			return rechain(last)
		})
		if err := os.RemoveAll(filepath.Join(worker.RunDir(forged, "small"), "checkpoints", "step-000005")); err != nil {
			t.Fatal(err)
		}
		grouseIn(t, forged, 0, "audit", "small")
		if _, errs := grouseIn(t, forged, exitFailed, "replay", "small"); !strings.Contains(errs, "step 5") {
			t.Errorf("%s", errs)
		}
	})
	t.Run("damaged files", func(t *testing.T) {
		for _, pattern := range []string{"blobs/*.arrow", "checkpoints/step-000005/optimizer.safetensors", "ledger/000001.seg"} {
			forged := forge(t, home, func(recs []grouse.Record) []grouse.Record { return recs })
			grouseIn(t, forged, 0, "audit", "small")
			files, err := filepath.Glob(filepath.Join(worker.RunDir(forged, "small"), pattern))
			if err != nil || len(files) == 0 {
				t.Fatal(pattern, err)
			}
			raw, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			raw[len(raw)/2] ^= 1
			if err := os.WriteFile(files[0], raw, 0o644); err != nil {
				t.Fatal(err)
			}
			grouseIn(t, forged, exitFailed, "audit", "small")
		}
	})
	grouseIn(t, home, exitEnvironment, "audit", "nobody")
	grouseIn(t, home, exitEnvironment, "replay", "nobody")
}

// tree lists the files of a folder with their sizes.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		out = append(out, path+" "+string(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
