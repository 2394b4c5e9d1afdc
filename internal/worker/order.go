package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/collective"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

// order is what rank 0 tells the other ranks to do with it: a call of its learner. They
// answer with a short text that must be rank 0's own.
type order struct {
	Do          string // a constant below
	Stage       int
	Step        int64
	First, Last int64
	Settings    []byte // JSON
	Groups      []byte // as batches are stored
	Scores      []byte
	Checkpoint  grouse.CheckpointRecord
}

const (
	doInitial = "load the first weights"
	doLoad    = "load a checkpoint"
	doBegin   = "begin a stage"
	doStep    = "do a step"
	doSFT     = "do supervised updates"
	doMoments = "hand over moments"
)

// String is what is to be done: "do a step, step 7 of stage 0".
func (o *order) String() string {
	switch o.Do {
	case doStep:
		return fmt.Sprintf("%s, step %d of stage %d", o.Do, o.Step, o.Stage)
	case doSFT:
		return fmt.Sprintf("%s, %d to %d of stage %d", o.Do, o.First, o.Last, o.Stage)
	case doLoad:
		return o.Do + ", " + o.Checkpoint.Dir
	}
	return o.Do
}

func (o *order) encode() ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(o); err != nil {
		return nil, grouse.Errorf(grouse.Internal, "an order of rank 0: %w", err)
	}
	return b.Bytes(), nil
}

func decodeOrder(raw []byte) (o order, err error) {
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(&o); err != nil {
		return o, grouse.Errorf(grouse.Internal, "an order of rank 0: %w", err)
	}
	return o, nil
}

// stepOrder packs a step as the ledger has it.
func stepOrder(req activities.StepRequest) (*order, error) {
	o := &order{Do: doStep, Stage: req.Stage, Step: req.Step}
	groups, scores := make([]grouse.Group, len(req.Groups)), make([]activities.GroupScores, len(req.Groups))
	for i, g := range req.Groups {
		groups[i], scores[i] = g.Group, activities.GroupScores{Candidate: g.Group.Candidate, Scores: g.Scores}
	}
	var err error
	if o.Settings, err = json.Marshal(req.Settings); err != nil || len(groups) == 0 {
		return o, err
	}
	if o.Groups, err = (codec{}).EncodeGroups(groups); err != nil {
		return nil, err
	}
	o.Scores, err = (codec{}).EncodeScores(scores)
	return o, err
}

// request unpacks a step.
func (o *order) request() (activities.StepRequest, error) {
	req := activities.StepRequest{Stage: o.Stage, Step: o.Step}
	if err := json.Unmarshal(o.Settings, &req.Settings); err != nil || len(o.Groups) == 0 {
		return req, err
	}
	groups, err := (codec{}).DecodeGroups(o.Groups)
	if err != nil {
		return req, err
	}
	scores, err := (codec{}).DecodeScores(o.Scores)
	if err != nil {
		return req, err
	}
	if len(groups) != len(scores) {
		return req, grouse.Errorf(grouse.Internal, "%d groups with scores of %d", len(groups), len(scores))
	}
	for i := range groups {
		req.Groups = append(req.Groups, grouse.ScoredGroup{Group: groups[i], Scores: scores[i].Scores})
	}
	return req, nil
}

// counters is what the ranks must agree on after an update.
func (l *learner) counters() (string, error) {
	raw, err := json.Marshal(l.tr.State())
	return string(raw), err
}

// obey does what rank 0 does and returns what rank 0 must have, too.
func (l *learner) obey(ctx context.Context, o *order) (string, error) {
	switch o.Do {
	case doInitial:
		return l.LoadInitial(ctx)
	case doLoad:
		if err := l.Load(ctx, o.Checkpoint); err != nil {
			return "", err
		}
		return l.loadedState()
	}
	if l.tr == nil && o.Do != doBegin {
		return "", grouse.Errorf(grouse.Internal, "told to %s before a stage has begun", o.Do)
	}
	switch o.Do {
	case doBegin:
		return "", l.Begin(ctx, o.Stage)
	case doMoments:
		return "", l.tr.Moments(ctx, nil)
	case doSFT:
		req := activities.SFTRequest{Stage: o.Stage, First: o.First, Last: o.Last}
		if err := json.Unmarshal(o.Settings, &req.Settings); err != nil {
			return "", err
		}
		res, err := l.SFT(ctx, req, func(int) {})
		if err != nil {
			return "", err
		}
		return l.sftState(res)
	case doStep:
		req, err := o.request()
		if err != nil {
			return "", err
		}
		if _, err := l.Step(ctx, req, func(int) {}); err != nil {
			return "", err
		}
		return l.counters()
	}
	return "", grouse.Errorf(grouse.Internal, "told to %q", o.Do)
}

// loadedState is what the ranks must agree on after loading: weights and counters.
func (l *learner) loadedState() (string, error) {
	weights, err := weightsDigest(l.policy.Model)
	if err != nil {
		return "", err
	}
	c, err := l.counters()
	return weights + " " + c, err
}

// sftState is counters, and what examples there were.
func (l *learner) sftState(res activities.SFTResult) (string, error) {
	c, err := l.counters()
	return res.DataSHA256 + " " + c, err
}

// hello is what this rank says of itself.
func (l *learner) hello(rank int) (collective.Hello, error) {
	h := collective.Hello{Rank: rank, Size: ranksOf(&l.spec), Device: l.dev.Name(), Run: l.spec.Name}
	var err error
	if h.Recipe, err = activities.RecipeDigest(l.spec); err != nil {
		return h, err
	}
	if h.NCCL, err = devices.Collectives(l.dev); err != nil {
		return h, err
	}
	h.Program, err = programDigest()
	return h, err
}

// programDigest is the SHA-256 of this program's file: ranks of different builds may
// round differently.
func programDigest() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", grouse.Errorf(grouse.Unavailable, "which program this is: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", grouse.Errorf(grouse.Unavailable, "which program this is: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", grouse.Errorf(grouse.Unavailable, "read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
