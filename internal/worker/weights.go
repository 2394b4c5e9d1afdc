package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tokenizer"
)

// weights carries policies between processes. A trainer puts each version on the
// bus as a safetensors file, under RUN/weights/vSTAGE-VERSION/CHAIN; the model's
// config.json and the tokenizer's files, which no step changes, lie there once,
// under RUN/weights/files/SHA256, and the file's metadata names them. Samplers
// fetch a version once and keep the newest few.
type weights struct {
	bus activities.Bus
	dev func() (tensor.Device, error)

	mu   sync.Mutex
	kept []fetched // oldest first
}

type fetched struct {
	run string
	published
}

// keptPolicies is how many fetched versions stay in memory: of a run with a
// fixed lag, or of two runs.
const keptPolicies = 2

const (
	kindWeights = "weights"
	// metaFiles is the metadata key with the reference, JSON, of the files.
	metaFiles = "grouse.files"
)

// versionToken differs from a step's, whose batches are dropped after it.
func versionToken(stage int, version int64) string { return fmt.Sprintf("v%d-%06d", stage, version) }

func weightsKey(run string, ref grouse.PolicyRef) string {
	return run + "/" + kindWeights + "/" + versionToken(ref.Stage, ref.Version) + "/" + ref.Chain
}

// publish puts a version on the bus and drops the one that nobody needs any
// more. A version that is there already stays.
func (w *weights) publish(ctx context.Context, run string, ref grouse.PolicyRef, p *Policy, keep int) error {
	key := weightsKey(run, ref)
	if _, err := w.bus.Lookup(ctx, key); err == nil {
		return nil
	} else if grouse.KindOf(err) != grouse.NotFound {
		return err
	}
	files, err := json.Marshal(p.Files) // in name order
	if err != nil {
		return grouse.Errorf(grouse.Internal, "publish the model's files: %w", err)
	}
	sum := sha256.Sum256(files)
	filesRef, err := w.bus.Publish(ctx, run+"/"+kindWeights+"/files/"+hex.EncodeToString(sum[:]), len(p.Files), files)
	if err != nil {
		return fmt.Errorf("publish the model's files: %w", err)
	}
	meta, err := json.Marshal(filesRef)
	if err != nil {
		return grouse.Errorf(grouse.Internal, "publish version %d: %w", ref.Version, err)
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, p.Model.Tensors(), map[string]string{metaFiles: string(meta)}); err != nil {
		return fmt.Errorf("publish version %d: %w", ref.Version, err)
	}
	if _, err := w.bus.Publish(ctx, key, 1, b.Bytes()); err != nil {
		return fmt.Errorf("publish version %d: %w", ref.Version, err)
	}
	if old := ref.Version - int64(keep); old >= 0 {
		return w.bus.Purge(ctx, run, versionToken(ref.Stage, old))
	}
	return nil
}

// get returns a version, NotFound if it is not on the bus.
func (w *weights) get(ctx context.Context, run string, ref grouse.PolicyRef) (*Policy, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.kept {
		if k.run == run && k.ref == ref {
			return k.policy, nil
		}
	}
	if ref.Chain == "" || ref.Stage < 0 {
		return nil, grouse.Errorf(grouse.NotFound, "run %s: stage %d, version %d of the policy is not in this process, and its chain is not known", run, ref.Stage, ref.Version)
	}
	data, err := w.fetch(ctx, weightsKey(run, ref))
	if err != nil {
		return nil, err
	}
	p, err := w.open(ctx, data, weightsKey(run, ref))
	if err != nil {
		return nil, err
	}
	w.kept = append(w.kept, fetched{run, published{ref, p}})
	w.kept = slices.Clone(w.kept[max(0, len(w.kept)-keptPolicies):])
	return p, nil
}

func (w *weights) fetch(ctx context.Context, key string) ([]byte, error) {
	ref, err := w.bus.Lookup(ctx, key)
	if err != nil {
		return nil, err
	}
	return w.bus.Fetch(ctx, ref)
}

// open makes a policy of a published file.
func (w *weights) open(ctx context.Context, data []byte, name string) (*Policy, error) {
	f, err := safetensors.NewFile(bytes.NewReader(data), int64(len(data)), name)
	if err != nil {
		return nil, err
	}
	var filesRef grouse.BatchRef
	if err := json.Unmarshal([]byte(f.Metadata()[metaFiles]), &filesRef); err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "%s does not say which model it is of: %w", name, err).WithFix("use the same version of grouse for every worker")
	}
	raw, err := w.bus.Fetch(ctx, filesRef)
	if err != nil {
		return nil, err
	}
	p := &Policy{}
	if err := json.Unmarshal(raw, &p.Files); err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "%s: %w", filesRef.Key, err).WithFix("use the same version of grouse for every worker")
	}
	config, err := model.ParseConfig(p.Files["config.json"])
	if err != nil {
		return nil, err
	}
	dev, err := w.dev()
	if err != nil {
		return nil, err
	}
	if p.Model, err = model.New(dev, config); err != nil {
		return nil, err
	}
	if err := p.Model.Load(fileSource{f}); err != nil {
		return nil, err
	}
	if p.Tokenizer, err = tokenizer.Parse(p.Files); err != nil {
		return nil, err
	}
	return p, p.chooseTemplate("")
}

// policies finds the weights for this process's sampler: those of a trainer
// beside it, or, if processes share, those on the bus.
type policies struct {
	store  *store
	remote *weights // nil: everything is in this process
}

func (p policies) get(ctx context.Context, run string, ref grouse.PolicyRef) (*Policy, error) {
	found, err := p.store.get(run, ref)
	if err == nil || p.remote == nil {
		return found, err
	}
	return p.remote.get(ctx, run, ref)
}
