package worker

import (
	"path/filepath"
	"slices"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

// GPUMemory is what a process needs of a GPU's memory for a run, in the stage that
// needs most.
type GPUMemory struct {
	Stage string // its name
	shape cuda.Shape
	use   cuda.Use
	host  int64 // bytes of the host's memory for moments, in the stage that needs most of it
}

// CheckGPU plans the memory of a run on a GPU before anything of the run is written:
// Unavailable, with the settings that would fit, if the GPU has too little. line says
// what is needed; it is empty if this process computes on the processor, or if
// nothing is known of the model yet. device is what computes in a process that does
// not serve the trainer. The GPU is opened: what other processes hold of it does not
// count as free.
func CheckGPU(r *config.Resolved, home string, roles []string, device string) (line string, err error) {
	if len(r.Spec.Stages) == 0 {
		return "", nil
	}
	from := "--device"
	if slices.Contains(roles, RoleTrainer) {
		device, from = backend(&r.Spec), "trainer.backend"
	}
	if device != devices.CUDA {
		return "", nil
	}
	m, err := PlanGPU(r, home, roles)
	if err != nil || m == nil {
		return "", err
	}
	dev, err := devices.Open(device, 0)
	if err != nil {
		return "", grouse.Errorf(grouse.KindOf(err), "%s: %s: %w", from, device, err).WithFix("%s", grouse.FixOf(err))
	}
	free, total := devices.Memory(dev)
	return m.check(free, total, HostMemory())
}

// PlanGPU returns what a process that serves the roles would need of a GPU; nil if
// that is nothing, or the model's config is not here.
func PlanGPU(r *config.Resolved, home string, roles []string) (*GPUMemory, error) {
	cfg := modelConfig(r, home)
	if cfg == nil {
		cfg = model.Published(r.Spec.Model.Hub)
	}
	if cfg == nil {
		return nil, nil
	}
	return planGPU(cfg, &r.Spec, roles)
}

// planGPU goes through the stages with the settings of each.
func planGPU(cfg *model.Config, spec *grouse.RunSpec, roles []string) (*GPUMemory, error) {
	train, sample := slices.Contains(roles, RoleTrainer), slices.Contains(roles, RoleRollout)
	if !train && !sample {
		return nil, nil
	}
	sizes, err := cfg.Sizes()
	if err != nil {
		return nil, err
	}
	evals := spec.Eval.Data.Path != "" || spec.Eval.Data.Hub != "" || spec.Eval.Data.Task != ""
	var most *GPUMemory
	cache := 0 // an engine keeps its cache in the stages that follow
	host := int64(0)
	for i := range spec.Stages {
		s := &spec.Stages[i]
		compressed := !s.Rollout.KeepExact
		caches, err := cfg.Caches(compressed)
		if err != nil {
			return nil, err
		}
		m := &GPUMemory{Stage: s.Name, shape: gpuShape(cfg, &sizes, caches)}
		if sample && (s.Kind != grouse.StageSFT || evals) {
			cache = max(cache, s.Rollout.MaxKVTokens)
		}
		m.use.KVTokens, m.use.MicroBatchTokens = cache, engineChunk
		if cache > 0 && compressed && sizes.Absorbed > 0 {
			m.shape.Derived = sizes.Absorbed
			m.use.MicroBatchTokens = max(engineChunk, s.Rollout.MaxPromptLength) // a prompt is one pass
		}
		if train {
			m.trains(s, &sizes)
		}
		host = max(host, cuda.HostBytes(m.shape, m.use))
		if most == nil || m.plan().Total() > most.plan().Total() {
			most = m
		}
	}
	if most != nil {
		most.host = host
	}
	return most, nil
}

// engineChunk is how many tokens of prompts an engine computes in one pass unless it
// is told otherwise (rollout/engine.Options).
const engineChunk = 1024

// trains adds what a stage's training needs.
func (m *GPUMemory) trains(s *grouse.Stage, sizes *model.Sizes) {
	if s.Rollout.MaxStaleness > 0 && s.Kind == grouse.StageRL {
		m.use.Copies = s.Rollout.MaxStaleness + 1 // versions that samplers may ask for
	}
	if s.Kind == grouse.StageRejectionSampling {
		return
	}
	m.use.Train, m.use.Trained = true, sizes.Parameters-sizes.Indexers
	switch s.Trainer.TrainIndexer {
	case grouse.IndexerWarmup:
		m.use.Trained = sizes.Indexers
	case grouse.IndexerSparse:
		m.use.Trained = sizes.Parameters
	}
	m.use.Reference = s.Kind == grouse.StageRL && s.Algorithm.UsesReference(s.Domains)
	m.use.Ranks = s.Trainer.Ranks
	m.use.BF16Moments, m.use.BF16Weights, m.use.Recompute = s.Trainer.BF16Moments, s.Trainer.BF16Weights, s.Trainer.Recompute
	m.use.OffloadMoments = s.Trainer.OffloadMoments
	m.use.MicroBatchTokens = max(m.use.MicroBatchTokens, s.Trainer.MicroBatchTokens)
}

// gpuShape says what the plan needs to know of a model.
func gpuShape(cfg *model.Config, sizes *model.Sizes, caches model.Caches) cuda.Shape {
	s := cuda.Shape{
		Params: sizes.Parameters, Matrices: sizes.Matrices, Tied: cfg.TieEmbeddings,
		Layers: cfg.Layers, Dim: cfg.HiddenSize, Vocab: cfg.VocabSize, Attention: sizes.Attention, HeadNorms: sizes.HeadNorms, Latent: sizes.Latent,
		Caches: []tensor.AttentionShape{caches.KeyValue}, Hidden: cfg.IntermediateSize,
	}
	if caches.Index.KeyDim > 0 {
		s.Caches = append(s.Caches, caches.Index)
	}
	if sizes.ExpertLayers > 0 {
		s.ExpertLayers, s.Experts, s.PerToken = sizes.ExpertLayers, cfg.Experts, cfg.ExpertsPerToken
		s.ExpertHidden, s.SharedHidden = cfg.ExpertSize, cfg.ExpertSize*cfg.SharedExperts
	}
	return s
}

func (m *GPUMemory) plan() cuda.Plan { return cuda.NewPlan(m.shape, m.use) }

// String says what is needed: "needs 30.2 GiB in stage rl: weights 3.3, ... GiB".
func (m *GPUMemory) String() string {
	return "needs " + bytesOf(m.plan().Total()) + " in stage " + m.Stage + ": " + m.plan().String() + m.onHost()
}

// onHost says what the run needs of the host's memory, nothing if nothing is offloaded to it.
func (m *GPUMemory) onHost() string {
	if m.host == 0 {
		return ""
	}
	text := "; moments in the host's memory " + bytesOf(m.host)
	if m.use.Ranks > 1 {
		text += " of all ranks"
	}
	return text
}

// check compares the plan with what a GPU has, and with the host's memory (0: not known),
// bytes.
func (m *GPUMemory) check(free, total, host int64) (line string, err error) {
	if host > 0 && m.host > host {
		return "", grouse.Errorf(grouse.Unavailable, "trainer.offload_moments: the moments need %s of the host's memory, this machine has %s", bytesOf(m.host), bytesOf(host)).
			WithFix("set trainer.bf16_moments: true, which takes half, or remove trainer.offload_moments")
	}
	if err := cuda.Fit(m.shape, m.use, free); err != nil {
		fix := "set what it names, or take another GPU"
		if taken := total - free; taken > total/10 {
			fix += "; " + bytesOf(taken) + " of the GPU's " + bytesOf(total) + " are taken: nvidia-smi shows by whom"
		}
		return "", grouse.Errorf(grouse.Unavailable, "stage %s: %w", m.Stage, err).WithFix("%s", fix)
	}
	return "GPU: " + m.plan().Explain(free) + ", in stage " + m.Stage + m.onHost(), nil
}

// forkedGPU is CheckGPU for a fork, whose model is still where from says.
func forkedGPU(r *config.Resolved, home string, from *Located) (line string, err error) {
	at := *r
	if at.Spec.Model.Path, err = filepath.Abs(from.Path); err != nil {
		return "", err
	}
	return CheckGPU(&at, home, append([]string{RoleTrainer}, Roles...), "")
}
