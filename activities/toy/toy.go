// Package toy is a run small enough to be followed by hand: an engine, rewards,
// a trainer and data that do what activities' interfaces promise, on a policy of
// four numbers. Tests of activities and workflows, and the histories that
// workflows must replay, are made with it. The ledger is the real one.
package toy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
)

// World is what survives a process: the bus. Weights that are published live
// in the process that samples, here in World too.
type World struct {
	mu        sync.Mutex
	messages  map[string]message
	published map[string]weights // by stage/version
	counts    map[string]int

	asking sync.Mutex // held while Fail is asked
	// Fail, if not nil, is asked before each piece of work: "sample", "score",
	// "train", "trained", "committed", "save", "draw", "publish".
	Fail func(point string) error
}

type message struct {
	ref  grouse.BatchRef
	data []byte
}

type weights [4]float64

// NewWorld returns an empty world.
func NewWorld() *World {
	return &World{messages: map[string]message{}, published: map[string]weights{}, counts: map[string]int{}}
}

// Count returns how often a point was reached.
func (w *World) Count(point string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[point]
}

// LoseBus deletes every batch, as the loss of JetStream's folder does.
func (w *World) LoseBus() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages = map[string]message{}
}

// LoseSamplers deletes the published weights, as the end of all samplers does.
func (w *World) LoseSamplers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = map[string]weights{}
}

func (w *World) reach(point string) error {
	w.mu.Lock()
	w.counts[point]++
	fail := w.Fail
	w.mu.Unlock()
	if fail == nil {
		return nil
	}
	w.asking.Lock()
	defer w.asking.Unlock()
	return fail(point)
}

// Parts are the activities of a run over a world.
type Parts struct {
	Rollouts *activities.Rollouts
	Rewards  *activities.Rewards
	Trainer  *activities.Trainer
}

// New returns the activities of the run in dir, with nothing in memory, as a
// process that just started has them. events, if not nil, is told what happens.
func New(w *World, spec grouse.RunSpec, dir string, ledger activities.Ledger, events func(activities.Event)) *Parts {
	p := &policy{world: w, dir: dir}
	t := &activities.Trainer{Run: spec.Name, Policy: p, Checkpoints: p, Prompts: data{w, spec}, Ledger: ledger, Bus: w, Codec: Codec{}, Router: router{}}
	if events != nil {
		t.Observer = observer(events)
	}
	return &Parts{
		Rollouts: &activities.Rollouts{Sampler: sampler{w}, Bus: w, Codec: Codec{}},
		Rewards:  &activities.Rewards{Scorer: scorer{w}, Bus: w, Codec: Codec{}},
		Trainer:  activities.NewTrainer(t),
	}
}

type observer func(activities.Event)

func (o observer) Observe(_ context.Context, e activities.Event) { o(e) }

// Spec is a recipe of two stages: sft of 20 updates, rl of steps.
func Spec(name string, steps int) grouse.RunSpec {
	domain := []grouse.Domain{{Name: "even", Weight: 1, Rewards: []grouse.RewardSpec{{Use: "even", Name: "even", Weight: 1}}}}
	return grouse.RunSpec{Name: name, Recipe: "toy", Seed: 7,
		Stages: []grouse.Stage{
			{Name: "cold", Kind: grouse.StageSFT, Steps: 20, Domains: domain, Trainer: grouse.TrainerSpec{LearningRate: 0.1}},
			{Name: "rl", Kind: grouse.StageRL, Steps: steps, Domains: domain, Trainer: grouse.TrainerSpec{LearningRate: 0.1},
				Rollout:   grouse.RolloutSpec{Engine: "local", NumGenerations: 4, PromptsPerStep: 6, MaxCompletionLength: 2, GroupsPerShard: 4},
				Algorithm: grouse.Algorithm{FilterGroups: grouse.FilterTotal, MaxWaves: 3, NumIterations: 1, MiniBatches: 1}},
		},
		Eval:       grouse.EvalSpec{Data: grouse.DataSpec{Task: "even"}, Metric: "accuracy", N: 2, BeforeRL: true, MaxTokens: 2},
		Checkpoint: grouse.CheckpointSpec{Every: 4, Keep: 2}, OnBadRow: "stop"}
}

// Codec is JSON. Like Arrow's it leaves out what training does not need.
type Codec struct{}

func (Codec) EncodeGroups(groups []grouse.Group) ([]byte, error) {
	plain := make([]grouse.Group, len(groups))
	for i, g := range groups {
		g.Prompt = grouse.Prompt{RowID: g.Prompt.RowID, Domain: g.Prompt.Domain, TokenIDs: g.Prompt.TokenIDs}
		plain[i] = g
	}
	return json.Marshal(plain)
}

func (Codec) DecodeGroups(data []byte) (groups []grouse.Group, err error) {
	return groups, json.Unmarshal(data, &groups)
}

func (Codec) EncodeScores(scores []activities.GroupScores) ([]byte, error) {
	return json.Marshal(scores)
}

func (Codec) DecodeScores(data []byte) (scores []activities.GroupScores, err error) {
	return scores, json.Unmarshal(data, &scores)
}

// Publish, Lookup, Fetch, Purge and Delete make World a bus.
func (w *World) Publish(_ context.Context, key string, rows int, payload []byte) (grouse.BatchRef, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m, ok := w.messages[key]; ok {
		return m.ref, nil
	}
	sum := sha256.Sum256(payload)
	m := message{ref: grouse.BatchRef{Key: key, SHA256: hex.EncodeToString(sum[:]), Rows: rows, Bytes: int64(len(payload))}, data: payload}
	w.messages[key] = m
	return m.ref, nil
}

func (w *World) Lookup(_ context.Context, key string) (grouse.BatchRef, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m, ok := w.messages[key]; ok {
		return m.ref, nil
	}
	return grouse.BatchRef{}, grouse.Errorf(grouse.NotFound, "no batch %s", key)
}

func (w *World) Fetch(_ context.Context, ref grouse.BatchRef) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, ok := w.messages[ref.Key]
	if !ok || m.ref.SHA256 != ref.SHA256 {
		return nil, grouse.Errorf(grouse.NotFound, "no batch %s", ref.Key)
	}
	return m.data, nil
}

func (w *World) Purge(_ context.Context, run, step string) error {
	w.deleteIf(func(p []string) bool { return p[0] == run && p[2] == step })
	return nil
}

func (w *World) Delete(_ context.Context, run string) error {
	w.deleteIf(func(p []string) bool { return p[0] == run })
	return nil
}

func (w *World) deleteIf(match func(parts []string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.messages {
		if match(strings.Split(k, "/")) {
			delete(w.messages, k)
		}
	}
}

// noise is a number in [0, 1) made of its arguments.
func noise(args ...any) float64 {
	sum := sha256.Sum256([]byte(fmt.Sprint(args...)))
	return float64(binary.LittleEndian.Uint64(sum[:])>>11) / (1 << 53)
}

type sampler struct{ world *World }

// Sample draws two tokens a completion, both even with a chance that grows with
// the first weight.
func (s sampler) Sample(ctx context.Context, req activities.SampleRequest, progress func(int)) ([]grouse.Group, error) {
	if err := s.world.reach("sample"); err != nil {
		return nil, err
	}
	s.world.mu.Lock()
	w, ok := s.world.published[fmt.Sprint(req.Policy.Stage, req.Policy.Version)]
	s.world.mu.Unlock()
	if !ok {
		return nil, grouse.Errorf(grouse.NotFound, "no weights of stage %d, version %d", req.Policy.Stage, req.Policy.Version)
	}
	p := 1 / (1 + math.Exp(-w[0]))
	var groups []grouse.Group
	for i, c := range req.Prompts {
		g := grouse.Group{Candidate: c.Candidate, Prompt: c.Prompt, Seed: req.Seed}
		for n := range req.N {
			token := int32(1)
			if noise(req.Seed, req.Purpose, req.Stage, req.Step, c.Candidate, n, w) < p {
				token = 2
			}
			g.Rollouts = append(g.Rollouts, grouse.Rollout{Sample: uint16(n), ResponseIDs: []int32{token, 0}, Logprobs: []float32{-1, -0.5},
				PolicyVersion: []int64{req.Policy.Version, req.Policy.Version}, Finish: grouse.FinishStop})
		}
		groups = append(groups, g)
		progress(i + 1)
	}
	return groups, ctx.Err()
}

type scorer struct{ world *World }

// Score rewards an even first token.
func (s scorer) Score(_ context.Context, req activities.ScoreRequest, _ func(int)) ([][]grouse.Score, error) {
	if err := s.world.reach("score"); err != nil {
		return nil, err
	}
	out := make([][]grouse.Score, len(req.Groups))
	for i, g := range req.Groups {
		if g.Prompt.Columns["parity"] != "even" {
			return nil, grouse.Errorf(grouse.Internal, "candidate %d has lost its columns: %v", g.Candidate, g.Prompt.Columns)
		}
		for _, r := range g.Rollouts {
			reward := float64(1 - r.ResponseIDs[0]%2)
			right := reward == 1
			out[i] = append(out[i], grouse.Score{Sample: r.Sample, Reward: &reward, Outcome: grouse.Scored, Correct: &right})
		}
	}
	return out, nil
}

type router struct{}

// ScoreRoutes scores domains whose name begins with "far" on the reward queue,
// the others locally.
func (router) ScoreRoutes(_ context.Context, domains []grouse.Domain) ([]activities.ScoreRoute, error) {
	var near, far []string
	for _, d := range domains {
		if strings.HasPrefix(d.Name, "far") {
			far = append(far, d.Name)
		} else {
			near = append(near, d.Name)
		}
	}
	var routes []activities.ScoreRoute
	if near != nil {
		routes = append(routes, activities.ScoreRoute{Domains: near, Local: true})
	}
	if far != nil {
		routes = append(routes, activities.ScoreRoute{Domains: far, Queue: activities.RewardQueue})
	}
	return routes, nil
}

type data struct {
	world *World
	spec  grouse.RunSpec
}

// Draw draws rows without end.
func (d data) Draw(_ context.Context, req activities.DrawRequest) ([]activities.Candidate, error) {
	if err := d.world.reach("draw"); err != nil {
		return nil, err
	}
	if _, err := req.Solved(); err != nil {
		return nil, err
	}
	domains := d.spec.Stages[req.Stage].Domains
	var out []activities.Candidate
	for c := req.First; c < req.First+uint32(req.N); c++ {
		out = append(out, candidate(c, int(req.Step)*100+int(c), domains[int(c)%len(domains)].Name))
	}
	return out, nil
}

func (d data) Eval(context.Context) ([]activities.Candidate, error) {
	var out []activities.Candidate
	for c := range uint32(10) {
		out = append(out, candidate(c, 900000+int(c), activities.EvalDomains(d.spec)[0].Name))
	}
	return out, nil
}

func (d data) Reject(context.Context, int) ([]activities.Candidate, error) {
	return d.Eval(context.Background())
}

func (d data) Keep(_ context.Context, _ int, rows []activities.KeptRow) error {
	for range rows {
		if err := d.world.reach("keep"); err != nil {
			return err
		}
	}
	return nil
}

func candidate(c uint32, row int, domain string) activities.Candidate {
	return activities.Candidate{Candidate: c, Prompt: grouse.Prompt{RowID: fmt.Sprintf("%s/%d", domain, row), Domain: domain, Text: "a number",
		TokenIDs: []int32{3}, Columns: map[string]any{"parity": "even"}}}
}

// policy is the trainer and its checkpoints.
type policy struct {
	world *World
	dir   string
	w     weights
	stage int

	perturb float64
}

func (p *policy) Vocab() int                   { return 4 }
func (p *policy) Routing() grouse.RoutingShape { return grouse.RoutingShape{} }
func (p *policy) Device() string               { return "toy" }

func (p *policy) LoadInitial(context.Context) (string, error) {
	p.w = weights{0.1, 0, 0, 0}
	return p.sum(), p.world.reach("load")
}

func (p *policy) sum() string {
	sum := sha256.Sum256([]byte(fmt.Sprint(p.w)))
	return hex.EncodeToString(sum[:])
}

func (p *policy) Begin(_ context.Context, stage int) error {
	p.stage = stage
	p.w[3] = 0 // what an optimizer forgets
	return nil
}

func (p *policy) Step(_ context.Context, req activities.StepRequest, progress func(int)) (activities.StepResult, error) {
	if err := p.world.reach("train"); err != nil {
		p.w[1] = math.NaN() // broken off half way
		return activities.StepResult{}, err
	}
	lr := 0.1
	if req.Settings.LearningRate != nil {
		lr = *req.Settings.LearningRate
	}
	reward, n := 0.0, 0
	for _, g := range req.Groups {
		for i, s := range g.Scores {
			reward += *s.Reward
			n++
			p.w[1] += lr * *s.Reward * float64(g.Group.Rollouts[i].Logprobs[0])
		}
	}
	if n > 0 {
		p.w[0] += lr
	}
	p.w[1] += p.perturb
	p.w[2]++
	p.w[3] += lr
	progress(len(req.Groups))
	res := activities.StepResult{Stats: grouse.Metrics{"reward": reward / float64(max(1, n)), "loss": p.w[1], "kl": 0.004, "learning_rate": lr}, Times: grouse.Metrics{"tokens_per_s": 1}}
	return res, p.world.reach("trained")
}

func (p *policy) SFT(_ context.Context, req activities.SFTRequest, progress func(int)) (activities.SFTResult, error) {
	if err := p.world.reach("sft"); err != nil {
		return activities.SFTResult{}, err
	}
	for u := req.First; u <= req.Last; u++ {
		p.w[0] -= 0.01
		progress(int(u - req.First + 1))
	}
	return activities.SFTResult{DataSHA256: strings.Repeat("d", 64), Stats: grouse.Metrics{"loss": p.w[0]}}, nil
}

func (p *policy) Publish(_ context.Context, ref grouse.PolicyRef) error {
	if err := p.world.reach("publish"); err != nil {
		return err
	}
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	p.world.published[fmt.Sprint(ref.Stage, ref.Version)] = p.w
	return nil
}

func (p *policy) Save(_ context.Context, req activities.SaveRequest) (grouse.CheckpointRecord, error) {
	if err := p.world.reach("save"); err != nil {
		return grouse.CheckpointRecord{}, err
	}
	name := fmt.Sprintf("checkpoints/stage-%d-step-%06d", req.Policy.Stage, req.Policy.Version)
	text, err := json.Marshal(p.w)
	if err != nil {
		return grouse.CheckpointRecord{}, err
	}
	path := filepath.Join(p.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
		return grouse.CheckpointRecord{}, err
	}
	return grouse.CheckpointRecord{Stage: req.Policy.Stage, Step: req.Policy.Version, Chain: req.Policy.Chain, Dir: name, WeightsSHA256: p.sum()}, nil
}

func (p *policy) Load(_ context.Context, rec grouse.CheckpointRecord) error {
	text, err := os.ReadFile(filepath.Join(p.dir, rec.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		return grouse.Errorf(grouse.NotFound, "no checkpoint %s", rec.Dir)
	}
	if err == nil {
		err = json.Unmarshal(text, &p.w)
	}
	if err != nil || p.sum() != rec.WeightsSHA256 {
		return grouse.Errorf(grouse.Corrupt, "checkpoint %s is not what was saved: %v", rec.Dir, err)
	}
	p.stage = rec.Stage
	return nil
}

func (p *policy) Prune(_ context.Context, keep []grouse.CheckpointRecord) error {
	stay := map[string]bool{}
	for _, c := range keep {
		stay[filepath.Join(p.dir, c.Dir)] = true
	}
	files, err := filepath.Glob(filepath.Join(p.dir, "checkpoints", "*"))
	for _, f := range files {
		if !stay[f] {
			err = errors.Join(err, os.Remove(f))
		}
	}
	return err
}

// Perturb makes the trainer's arithmetic come out differently by so much.
func Perturb(p *Parts, by float64) { p.Trainer.Policy.(*policy).perturb = by }

// Failing returns a scorer whose rewards fail while failing returns true; nil
// takes such a scorer's mark off.
func Failing(s activities.Scorer, failing func() bool) activities.Scorer {
	if f, ok := s.(failingScorer); ok {
		s = f.Scorer
	}
	if failing == nil {
		return s
	}
	return failingScorer{s, failing}
}

type failingScorer struct {
	activities.Scorer
	failing func() bool
}

func (f failingScorer) Score(ctx context.Context, req activities.ScoreRequest, progress func(int)) ([][]grouse.Score, error) {
	scores, err := f.Scorer.Score(ctx, req, progress)
	if err == nil && f.failing() {
		for i := range scores {
			for j := range scores[i] {
				scores[i][j] = grouse.Score{Sample: scores[i][j].Sample, Outcome: grouse.Errored, Failure: "the judge is away"}
			}
		}
	}
	return scores, err
}
