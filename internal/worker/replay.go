package worker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// ReplayOptions say how much is replayed.
type ReplayOptions struct {
	Home    string
	Scratch string // a folder that Replay may fill
	To      int64  // stop after this step of the last rl stage; 0: the end
	// Each, if not nil, is told of every record.
	Each func(activities.Replayed)
}

// ReplayResult is what a replay came to, all of it equal to the record.
type ReplayResult struct {
	Records     int    `json:"records"` // stages begun, steps, runs of sft updates
	Steps       int    `json:"steps"`   // rl
	SFT         int64  `json:"sft_updates"`
	Checkpoints int    `json:"checkpoints"` // whose weights came out the same
	Stage       int    `json:"stage"`
	Step        int64  `json:"step"`
	Chain       string `json:"chain"`
	Weights     string `json:"weights_sha256"` // of the last checkpoint compared
	Device      string `json:"device"`
	Recorded    string `json:"recorded_device"` // kernel set that the run used
}

// Replay makes a run's weights again out of its ledger, from the beginning,
// without writing to the run. The chain is compared at every record, the hash of
// the weights at every checkpoint that the ledger names. Corrupt if anything
// comes out differently.
func Replay(ctx context.Context, dev tensor.Device, r *config.Resolved, o ReplayOptions) (*ReplayResult, error) {
	dir := RunDir(o.Home, r.Spec.Name)
	log, err := readLog(dir)
	if err != nil {
		return nil, err
	}
	l, err := newLearner(dev, r.Spec, o.Scratch, r.Base, o.Home, &store{})
	if err != nil {
		return nil, err
	}
	l.data.dir = dir // what rejection sampling kept
	policy := memory(l)
	if ranksOf(&r.Spec) > 1 {
		ld, stop, err := crowd(dev, l, func(dev tensor.Device) (*learner, error) {
			f, err := newLearner(dev, r.Spec, o.Scratch, r.Base, o.Home, &store{})
			if err == nil {
				f.data.dir = dir
			}
			return f, err
		})
		if err != nil {
			return nil, err
		}
		defer stop()
		policy = ld
	}
	t := activities.NewTrainer(&activities.Trainer{Run: r.Spec.Name, Policy: policy, Checkpoints: policy, Prompts: l.data, Ledger: log, Codec: codec{}})
	out := &ReplayResult{Device: dev.Name()}
	var saved []grouse.CheckpointRecord
	for _, rec := range log.order[grouse.RecordCheckpoint] {
		saved = append(saved, rec.(grouse.CheckpointRecord))
	}
	for _, rec := range log.order[grouse.RecordRun] {
		out.Recorded = rec.(grouse.RunRecord).Device
	}
	main := lastRL(r.Spec)
	version := int64(0)
	err = t.Replay(ctx, func(d activities.Replayed) (bool, error) {
		out.Records, out.Stage, out.Step, out.Chain = d.Done, d.At.Stage, d.At.Version, d.At.Chain
		switch d.Kind {
		case grouse.RecordStep:
			out.Steps++
		case grouse.RecordSFT:
			out.SFT += d.At.Version - version
		}
		version = d.At.Version
		for _, c := range saved {
			if c.Stage != d.At.Stage || c.Step != d.At.Version || c.Chain != d.At.Chain {
				continue
			}
			if err := l.compare(ctx, policy, c); err != nil {
				return true, err
			}
			out.Checkpoints++
			out.Weights = c.WeightsSHA256
		}
		if o.Each != nil {
			o.Each(d)
		}
		return o.To > 0 && d.At.Stage == main && d.At.Version >= o.To, nil
	})
	return out, err
}

func lastRL(spec grouse.RunSpec) int {
	last := -1
	for i, s := range spec.Stages {
		if s.Kind == grouse.StageRL {
			last = i
		}
	}
	return last
}

// compare saves the weights in the scratch folder and compares their hash with
// the recorded one. Only checkpoints that a later stage may begin with stay.
func (l *learner) compare(ctx context.Context, policy memory, want grouse.CheckpointRecord) error {
	got, err := policy.Save(ctx, activities.SaveRequest{Policy: grouse.PolicyRef{Stage: want.Stage, Version: want.Step, Chain: want.Chain}})
	if err != nil {
		return err
	}
	if got.WeightsSHA256 != want.WeightsSHA256 {
		return grouse.Errorf(grouse.Corrupt, "checkpoint %s: the replayed weights have SHA-256 %s, recorded are %s", want.Dir, got.WeightsSHA256, want.WeightsSHA256).
			WithFix("the chain agrees, so the files or this machine's memory are damaged: grouse audit %s", l.spec.Name)
	}
	for _, s := range l.spec.Stages[want.Stage:] {
		if s.Model == l.spec.Stages[want.Stage].Name {
			return nil
		}
	}
	return os.RemoveAll(filepath.Join(l.dir, want.Dir))
}

// runLog is a run's ledger in memory, for reading.
type runLog struct {
	dir   string
	byKey map[grouse.RecordKind]map[string]grouse.Record
	order map[grouse.RecordKind][]grouse.Record
}

var _ activities.Ledger = (*runLog)(nil)

func readLog(dir string) (*runLog, error) {
	l := &runLog{dir: dir, byKey: map[grouse.RecordKind]map[string]grouse.Record{}, order: map[grouse.RecordKind][]grouse.Record{}}
	for e, err := range ledger.Read(dir) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, grouse.Errorf(grouse.NotFound, "%s has no ledger", dir).WithFix("the run has not begun")
		}
		if err != nil {
			return nil, err
		}
		rec, err := e.Record()
		if err != nil {
			return nil, err
		}
		kind := rec.RecordKind()
		if l.byKey[kind] == nil {
			l.byKey[kind] = map[string]grouse.Record{}
		}
		l.byKey[kind][rec.RecordKey()] = rec
		l.order[kind] = append(l.order[kind], rec)
	}
	return l, nil
}

var errReadOnly = grouse.Errorf(grouse.Internal, "a replay does not write to the run's ledger")

// Append refuses.
func (l *runLog) Append(context.Context, ...grouse.Record) error { return errReadOnly }

// PutBlob refuses.
func (l *runLog) PutBlob(context.Context, []byte) (string, error) { return "", errReadOnly }

// Find returns a record.
func (l *runLog) Find(kind grouse.RecordKind, key string) (grouse.Record, error) {
	if rec, ok := l.byKey[kind][key]; ok {
		return rec, nil
	}
	return nil, grouse.Errorf(grouse.NotFound, "no %s record %s", kind, key)
}

// List returns the records of a kind, oldest first.
func (l *runLog) List(kind grouse.RecordKind) ([]grouse.Record, error) { return l.order[kind], nil }

// Blob returns a batch's bytes.
func (l *runLog) Blob(_ context.Context, sum string) ([]byte, error) {
	return ledger.ReadBlob(l.dir, sum)
}

// Epoch is 0: nobody owns a replay.
func (l *runLog) Epoch() uint64 { return 0 }
