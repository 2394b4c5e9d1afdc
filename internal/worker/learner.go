package worker

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/durable"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/trainer"
	"github.com/grouse-rl/grouse/trainer/checkpoint"
)

// memory is what a trainer works on: a learner, or the leader of several.
type memory interface {
	activities.PolicyTrainer
	activities.CheckpointStore
}

// learner is the policy of one run in memory, with its trainer and its files.
type learner struct {
	spec   grouse.RunSpec
	dir    string // of the run
	base   string
	home   string
	dev    tensor.Device
	store  *store
	share  *weights // nil: samplers are in this process
	policy *Policy
	fresh  bool // the weights in memory are those that the run begins with
	data   *prompts
	group  collective.Group // nil: the only rank
	fault  fault            // of a further rank

	stage int
	tr    *trainer.Trainer
	ref   *model.Model
	refAt string // name of the reference's file: "<stage>-<step>"
}

var _ memory = (*learner)(nil)

func newLearner(dev tensor.Device, spec grouse.RunSpec, dir, base, home string, s *store) (*learner, error) {
	p, err := OpenPolicy(dev, spec.Model, base, home, spec.Seed)
	if err != nil {
		return nil, err
	}
	l := &learner{spec: spec, dir: dir, base: base, home: home, dev: dev, store: s, policy: p, fresh: true, stage: -1}
	l.data = &prompts{spec: spec, dir: dir, base: base, home: home, policy: p}
	return l, nil
}

// Routing is the shape of kept routing.
func (l *learner) Routing() grouse.RoutingShape { return l.policy.Model.RoutingShape() }

// Vocab is the number of token ids.
func (l *learner) Vocab() int { return l.policy.Model.Config.VocabSize }

// Device names the kernel set.
func (l *learner) Device() string { return l.dev.Name() }

// LoadInitial sets the weights that the run begins with.
func (l *learner) LoadInitial(context.Context) (string, error) {
	if !l.fresh {
		p, err := OpenPolicy(l.dev, l.spec.Model, l.base, l.home, l.spec.Seed)
		if err != nil {
			return "", err
		}
		l.policy.Model.CopyFrom(p.Model)
		l.fresh = true
	}
	l.stage, l.tr = -1, nil
	return weightsDigest(l.policy.Model)
}

// Begin makes the trainer of a stage on the weights in memory.
func (l *learner) Begin(_ context.Context, stage int) error {
	if err := l.enter(stage); err != nil {
		return err
	}
	if l.tr.UsesReference() {
		return l.setReference(fmt.Sprintf("%d-%06d", stage, 0))
	}
	return nil
}

func (l *learner) enter(stage int) error {
	l.fresh = false // the trainer changes them in place
	tr, err := trainer.NewRank(l.policy.Model, l.spec.Stages[stage], l.group)
	if err != nil {
		return err
	}
	tr.SetSeed(l.spec.Seed)
	l.stage, l.tr, l.ref, l.refAt = stage, tr, nil, ""
	return nil
}

// setReference makes the weights in memory the reference and keeps them in a
// file: a checkpoint names it.
func (l *learner) setReference(name string) error {
	if l.ref == nil {
		l.ref = l.policy.Model.Clone()
	} else {
		l.ref.CopyFrom(l.policy.Model)
	}
	l.tr.SetReference(l.ref)
	l.refAt = name
	path := l.referenceFile(name)
	if _, err := os.Stat(path); err == nil || l.follows() {
		return nil
	}
	return durable.Write(path, func(w io.Writer) error {
		return safetensors.Write(w, l.ref.Tensors(), nil)
	})
}

// follows reports whether another rank writes the run's files.
func (l *learner) follows() bool { return l.group != nil && l.group.Rank() > 0 }

func (l *learner) referenceFile(name string) string {
	return filepath.Join(l.dir, "reference", name+".safetensors")
}

func (l *learner) loadReference(name string) error {
	f, err := safetensors.Open(l.referenceFile(name))
	if err != nil {
		return grouse.Errorf(grouse.Corrupt, "reference policy: %w", err)
	}
	defer f.Close()
	l.ref = l.policy.Model.Clone()
	if err := l.ref.Load(fileSource{f}); err != nil {
		return err
	}
	l.ref.SetBF16(l.spec.Stages[l.stage].Trainer.BF16Weights)
	l.refAt = name
	l.tr.SetReference(l.ref)
	return nil
}

type fileSource struct{ *safetensors.File }

func (f fileSource) Shape(name string) []int {
	t, ok := f.Info(name)
	if !ok {
		return nil
	}
	return append([]int{}, t.Shape...)
}

// Step does one step of an rl stage.
func (l *learner) Step(ctx context.Context, req activities.StepRequest, progress func(int)) (activities.StepResult, error) {
	out := activities.StepResult{Stats: grouse.Metrics{}, Times: grouse.Metrics{}}
	if err := l.tr.Configure(req.Settings.Apply(l.spec.Stages[req.Stage])); err != nil {
		return out, err
	}
	began := time.Now()
	if len(req.Groups) > 0 {
		res, err := l.tr.Step(ctx, req.Groups)
		if err != nil {
			return out, err
		}
		out.Stats, out.Traces = res.Metrics, res.Traces
	}
	if n := int64(l.spec.Stages[req.Stage].Algorithm.RefModelSyncSteps); n > 0 && req.Step%n == 0 && l.tr.UsesReference() {
		if err := l.setReference(fmt.Sprintf("%d-%06d", req.Stage, req.Step)); err != nil {
			return out, err
		}
	}
	out.Times["time/train_s"] = time.Since(began).Seconds()
	out.Pause = l.pause()
	return out, nil
}

func (l *learner) pause() string {
	if !l.tr.Paused() {
		return ""
	}
	return fmt.Sprintf("the gradient was not finite %d updates in a row: lower trainer.learning_rate (grouse set), then resume", l.tr.State().Optim.SkippedInRow)
}

// SFT does updates of an sft stage. Update u takes the examples (u-1)B..uB-1 of
// an endless sequence of permutations.
func (l *learner) SFT(ctx context.Context, req activities.SFTRequest, progress func(int)) (activities.SFTResult, error) {
	var out activities.SFTResult
	stage := req.Settings.Apply(l.spec.Stages[req.Stage])
	if err := l.tr.Configure(stage); err != nil {
		return out, err
	}
	examples, names, err := l.data.examples(req.Stage)
	if err != nil {
		return out, err
	}
	if len(examples) == 0 {
		return out, grouse.Errorf(grouse.Invalid, "stage %s: no examples", stage.Name).WithFix("look at the data's path, split and limit")
	}
	began := time.Now()
	key := rng.NewKey(rng.Data, fmt.Sprint(req.Stage), l.spec.Seed)
	h := sha256.New()
	order := shuffled{key: key, n: len(examples)}
	for u := req.First; u <= req.Last; u++ {
		batch := make([]trainer.Example, stage.SFT.BatchSize)
		for i := range batch {
			at := order.at((u-1)*int64(stage.SFT.BatchSize) + int64(i))
			batch[i] = examples[at]
			h.Write([]byte(names[at]))
			for _, ids := range [][]int32{batch[i].Prompt, batch[i].Completion} {
				_ = binary.Write(h, binary.LittleEndian, int64(len(ids)))
				_ = binary.Write(h, binary.LittleEndian, ids)
			}
		}
		if out.Stats, err = l.tr.SFT(ctx, batch); err != nil {
			return out, err
		}
		progress(int(u - req.First + 1))
	}
	out.DataSHA256 = hex.EncodeToString(h.Sum(nil))
	out.Times = grouse.Metrics{"time/train_s": time.Since(began).Seconds()}
	out.Pause = l.pause()
	return out, nil
}

// shuffled is an endless sequence of permutations of n.
type shuffled struct {
	key   rng.Key
	n     int
	round int64
	perm  []int
}

func (s *shuffled) at(i int64) int {
	if r := i / int64(s.n); s.perm == nil || r != s.round {
		stream := s.key.Stream(0, uint32(r), 3)
		s.perm, s.round = stream.Perm(s.n), r
	}
	return s.perm[i%int64(s.n)]
}

// Publish hands the weights to samplers. With a fixed lag each version is a
// copy; without, samplers read the trainer's own weights between steps.
func (l *learner) Publish(ctx context.Context, ref grouse.PolicyRef) error {
	lag := 0
	if ref.Stage >= 0 {
		lag = l.spec.Stages[ref.Stage].Rollout.MaxStaleness
	}
	p := l.policy
	if lag > 0 {
		if have, err := l.store.get(l.spec.Name, ref); err == nil && l.share == nil {
			return nil
		} else if err == nil {
			return l.share.publish(ctx, l.spec.Name, ref, have, lag+1)
		}
		copied := *l.policy
		copied.Model = l.policy.Model.Clone()
		p = &copied
	}
	l.store.put(l.spec.Name, ref, p, lag+1)
	if l.share != nil {
		return l.share.publish(ctx, l.spec.Name, ref, p, lag+1)
	}
	return nil
}

// trainerState is the trainer's part of state.json.
type trainerState struct {
	trainer.State
	Reference string `json:"reference,omitempty"`
}

// name of a checkpoint: step-000020 in the last rl stage, else with the stage's
// name.
func (l *learner) checkpointName(ref grouse.PolicyRef) string {
	main := -1
	for i, s := range l.spec.Stages {
		if s.Kind == grouse.StageRL {
			main = i
		}
	}
	if ref.Stage == main {
		return checkpoint.Name(ref.Version)
	}
	return fmt.Sprintf("%s-%s", l.spec.Stages[ref.Stage].Name, checkpoint.Name(ref.Version))
}

func (l *learner) root() string { return filepath.Join(l.dir, "checkpoints") }

// Save writes a checkpoint.
func (l *learner) Save(ctx context.Context, req activities.SaveRequest) (grouse.CheckpointRecord, error) {
	return l.save(req, func(yield func(string, []int, []float32) error) error { return l.tr.Moments(ctx, yield) })
}

func (l *learner) save(req activities.SaveRequest, moments checkpoint.Tensors) (grouse.CheckpointRecord, error) {
	ref := req.Policy
	state, err := json.Marshal(trainerState{l.tr.State(), l.refAt})
	if err != nil {
		return grouse.CheckpointRecord{}, grouse.Errorf(grouse.Internal, "save: %w", err)
	}
	recipe, err := activities.RecipeDigest(l.spec)
	if err != nil {
		return grouse.CheckpointRecord{}, err
	}
	name := l.checkpointName(ref)
	saved, err := checkpoint.Save(l.root(), name, checkpoint.Content{
		State:   checkpoint.State{Stage: ref.Stage, Step: ref.Version, Version: ref.Version, Chain: ref.Chain, Trainer: state},
		Weights: l.policy.Model.Each, Moments: moments, MomentShapes: l.tr.MomentShapes, Files: l.policy.Files, RecipeSHA256: recipe, Device: l.dev.Name(),
	})
	if err != nil {
		return grouse.CheckpointRecord{}, err
	}
	return grouse.CheckpointRecord{Stage: ref.Stage, Step: ref.Version, Dir: "checkpoints/" + name,
		WeightsSHA256: saved.WeightsSHA256, ManifestSHA256: saved.ManifestSHA256, Chain: ref.Chain}, nil
}

// Load reads a checkpoint back.
func (l *learner) Load(_ context.Context, rec grouse.CheckpointRecord) error {
	d, err := checkpoint.Open(filepath.Join(l.dir, rec.Dir))
	if err != nil {
		return err
	}
	defer d.Close()
	if d.Manifest.WeightsSHA256 != rec.WeightsSHA256 || d.State.Chain != rec.Chain {
		return grouse.Errorf(grouse.Corrupt, "checkpoint %s is not the one that the ledger names", rec.Dir)
	}
	l.fresh = false
	if err := l.policy.Model.Load(d.Weights()); err != nil {
		return err
	}
	if err := l.enter(rec.Stage); err != nil {
		return err
	}
	var state trainerState
	if err := json.Unmarshal(d.State.Trainer, &state); err != nil {
		return grouse.Errorf(grouse.Corrupt, "checkpoint %s: %w", rec.Dir, err)
	}
	if err := l.tr.Restore(state.State, d.Moments()); err != nil {
		return err
	}
	if state.Reference != "" {
		return l.loadReference(state.Reference)
	}
	return nil
}

// Prune removes checkpoints that are not to be kept.
func (l *learner) Prune(_ context.Context, keep []grouse.CheckpointRecord) error {
	entries, err := os.ReadDir(l.root())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "prune checkpoints: %w", err)
	}
	for _, e := range entries {
		kept := slices.ContainsFunc(keep, func(r grouse.CheckpointRecord) bool { return filepath.Base(r.Dir) == e.Name() })
		if kept || !e.IsDir() {
			continue
		}
		if err := os.RemoveAll(filepath.Join(l.root(), e.Name())); err != nil {
			return grouse.Errorf(grouse.Unavailable, "prune checkpoints: %w", err)
		}
	}
	return nil
}
