package worker

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/internal/wire"
	"github.com/grouse-rl/grouse/trainer/checkpoint"
)

// AuditResult counts what an audit found in order.
type AuditResult struct {
	Run         string         `json:"run"`
	Records     uint64         `json:"records"`
	LedgerHead  string         `json:"ledger_head"` // SHA-256 of the last record
	Stages      int            `json:"stages"`
	SFTUpdates  int64          `json:"sft_updates"`
	Steps       int            `json:"steps"` // rl
	Drawn       int            `json:"prompts_drawn"`
	Trained     int            `json:"groups_trained"`
	Filtered    int            `json:"groups_filtered"`
	Failed      int            `json:"groups_failed"`
	Reasons     map[string]int `json:"reasons"`     // of those not trained on
	Completions int            `json:"completions"` // trained on
	Checkpoints int            `json:"checkpoints"` // recorded
	Whole       int            `json:"checkpoints_verified"`
	Pruned      int            `json:"checkpoints_pruned"`
	Unrecorded  []string       `json:"checkpoints_unrecorded,omitempty"` // a crash came between saving and recording
	Pending     bool           `json:"pending"`                          // a batch is committed, or nearly, that no step has followed yet
	Evals       int            `json:"evals"`
	Chain       string         `json:"chain"`
}

// doneFile lies in the folder of a finished run.
const doneFile = "done.json"

// auditor walks a ledger once, from its first record to its last.
type auditor struct {
	dir  string
	spec grouse.RunSpec
	out  *AuditResult

	first  string            // H_0
	at     grouse.PolicyRef  // the weights after the records so far
	end    map[string]string // chain at the end of each stage, by its name
	chains map[string]string // chain by StepKey
	seen   map[string]bool   // kind and key of the records so far
	blobs  map[string]string // groups blob to the step that trained on it
	open   map[string]*openStep
	batch  *grouse.BatchRecord // committed, not yet trained on
	saved  map[string]bool     // folders of recorded checkpoints
	recipe string
	last   grouse.CheckpointRecord
}

// openStep is a step between its first draw and its batch.
type openStep struct {
	drawn    []grouse.DrawnPrompt
	waves    int
	verdicts map[uint32]grouse.GroupVerdict
	final    []grouse.FinalGroup
	digest   string
}

// Audit proves, from the ledger and the checkpoints of the run in dir, that every
// prompt that was drawn has exactly one final state, that no group was trained on
// twice, and that the chain of weights is unbroken from H_0 to the end. The error
// is Corrupt and names the first discrepancy.
func Audit(dir string) (*AuditResult, error) {
	a := &auditor{dir: dir, out: &AuditResult{Reasons: map[string]int{}}, end: map[string]string{}, chains: map[string]string{},
		seen: map[string]bool{}, blobs: map[string]string{}, open: map[string]*openStep{}, saved: map[string]bool{}}
	for e, err := range ledger.Read(dir) { // verifies the chain of the records themselves
		if err != nil {
			return a.out, err
		}
		rec, err := e.Record()
		if err != nil {
			return a.out, err
		}
		id := string(rec.RecordKind()) + " " + rec.RecordKey()
		switch {
		case a.seen[id]:
			return a.out, discrepancy("record %d: there are two records %s", e.Seq, id)
		case (e.Seq == 1) != (rec.RecordKind() == grouse.RecordRun):
			return a.out, discrepancy("record %d is a %s record", e.Seq, rec.RecordKind())
		}
		a.seen[id] = true
		if err := a.visit(rec); err != nil {
			return a.out, err
		}
		a.out.Records, a.out.LedgerHead = e.Seq, hex.EncodeToString(e.SHA256[:])
	}
	if a.out.Records == 0 {
		return a.out, grouse.Errorf(grouse.NotFound, "the ledger in %s is empty", dir).WithFix("the run has not begun")
	}
	a.out.Chain = a.at.Chain
	// What a crash left of a commit, or of a step, is done when the run goes on.
	_, cut := a.open[grouse.StepKey(a.at.Stage, a.at.Version+1)]
	a.out.Pending = a.batch != nil || cut && len(a.open) == 1
	_, err := os.Stat(filepath.Join(dir, doneFile))
	if finished := err == nil; finished && a.out.Pending || len(a.open) > 0 && !a.out.Pending {
		for key, s := range a.open {
			return a.out, discrepancy("step %s drew %d prompts that have no final state", key, len(s.drawn))
		}
		return a.out, discrepancy("the run is finished, but the batch of step %d was never trained on", a.batch.Step)
	}
	return a.out, a.folder()
}

func discrepancy(format string, args ...any) error {
	return grouse.Errorf(grouse.Corrupt, format, args...)
}

func (a *auditor) visit(rec grouse.Record) error {
	switch r := rec.(type) {
	case grouse.RunRecord:
		return a.run(r)
	case grouse.StageRecord:
		return a.stage(r)
	case grouse.SFTRecord:
		return a.sft(r)
	case grouse.DrawRecord:
		return a.draw(r)
	case grouse.ScoreRecord:
		return a.score(r)
	case grouse.GroupRecord:
		return a.group(r)
	case grouse.BatchRecord:
		return a.commit(r)
	case grouse.StepRecord:
		return a.step(r)
	case grouse.CheckpointRecord:
		return a.checkpoint(r)
	case grouse.EvalRecord:
		a.out.Evals++
		return a.known("evaluation", r.Stage, r.Step, r.Chain)
	}
	return discrepancy("a record of kind %s", rec.RecordKind())
}

func (a *auditor) run(r grouse.RunRecord) error {
	if err := json.Unmarshal(r.Spec, &a.spec); err != nil {
		return discrepancy("the recipe in the ledger: %w", err)
	}
	digest, err := activities.RecipeDigest(a.spec)
	if err != nil {
		return err
	}
	if digest != r.RecipeSHA256 {
		return discrepancy("the recipe in the ledger has SHA-256 %s, recorded is %s", digest, r.RecipeSHA256)
	}
	if h := grouse.ChainStart(r.WeightsSHA256, r.RecipeSHA256); h != r.Chain {
		return discrepancy("H_0 is %s, recorded is %s", h, r.Chain)
	}
	a.out.Run, a.first, a.recipe = r.Run, r.Chain, r.RecipeSHA256
	a.at = grouse.PolicyRef{Stage: -1, Chain: r.Chain}
	return nil
}

func (a *auditor) stage(r grouse.StageRecord) error {
	if r.Stage != a.at.Stage+1 || r.Stage >= len(a.spec.Stages) {
		return discrepancy("stage %d begins after stage %d of %d", r.Stage, a.at.Stage, len(a.spec.Stages))
	}
	if a.batch != nil {
		return discrepancy("stage %d begins before the batch of step %d was trained on", r.Stage, a.batch.Step)
	}
	s := a.spec.Stages[r.Stage]
	if a.at.Stage >= 0 {
		a.end[a.spec.Stages[a.at.Stage].Name] = a.at.Chain
	}
	want := a.at.Chain
	switch s.Model {
	case "":
	case "base":
		want = a.first
	default:
		want = a.end[s.Model]
	}
	if r.Chain != want || r.Name != s.Name || r.Kind != s.Kind {
		return discrepancy("stage %d (%s) begins with chain %.12s, want stage %s with %.12s", r.Stage, r.Name, r.Chain, s.Name, want)
	}
	a.out.Stages++
	return a.move(grouse.PolicyRef{Stage: r.Stage, Chain: r.Chain})
}

func (a *auditor) move(to grouse.PolicyRef) error {
	a.at = to
	a.chains[grouse.StepKey(to.Stage, to.Version)] = to.Chain
	return nil
}

// follows checks that a record goes on from the weights so far.
func (a *auditor) follows(what string, stage int, version int64, prev string) error {
	if stage != a.at.Stage || version != a.at.Version+1 {
		return discrepancy("%s %d of stage %d comes after version %d of stage %d", what, version, stage, a.at.Version, a.at.Stage)
	}
	if prev != a.at.Chain {
		return discrepancy("%s %d of stage %d goes on from chain %.12s, the weights before it are %.12s", what, version, stage, prev, a.at.Chain)
	}
	return nil
}

// advance checks the chain that a record claims.
func (a *auditor) advance(what string, to grouse.PolicyRef, prev, batch string, stats grouse.Metrics) error {
	h, err := grouse.Chain(prev, batch, stats)
	if err != nil {
		return discrepancy("%s %d of stage %d: %w", what, to.Version, to.Stage, err)
	}
	if h != to.Chain {
		return discrepancy("%s %d of stage %d: the chain is %.12s, recorded is %.12s", what, to.Version, to.Stage, h, to.Chain)
	}
	return a.move(to)
}

func (a *auditor) sft(r grouse.SFTRecord) error {
	if err := a.follows("sft update", r.Stage, r.First, r.PrevChain); err != nil {
		return err
	}
	if r.Last < r.First {
		return discrepancy("sft updates %d to %d of stage %d", r.First, r.Last, r.Stage)
	}
	a.out.SFTUpdates += r.Last - r.First + 1
	return a.advance("sft update", grouse.PolicyRef{Stage: r.Stage, Version: r.Last, Chain: r.Chain}, r.PrevChain, activities.SFTDigest(r), r.Stats)
}

func (a *auditor) opened(stage int, step int64) *openStep {
	key := grouse.StepKey(stage, step)
	if a.open[key] == nil {
		a.open[key] = &openStep{verdicts: map[uint32]grouse.GroupVerdict{}}
	}
	return a.open[key]
}

func (a *auditor) draw(r grouse.DrawRecord) error {
	s := a.opened(r.Stage, r.Step)
	if r.Wave != s.waves {
		return discrepancy("step %d: wave %d was drawn after %d waves", r.Step, r.Wave, s.waves)
	}
	s.waves++
	for _, p := range r.Prompts {
		if p.Candidate != uint32(len(s.drawn)) {
			return discrepancy("step %d, wave %d: candidate %d (%s) at place %d", r.Step, r.Wave, p.Candidate, p.RowID, len(s.drawn))
		}
		s.drawn = append(s.drawn, p)
	}
	a.out.Drawn += len(r.Prompts)
	return nil
}

func (a *auditor) score(r grouse.ScoreRecord) error {
	s := a.opened(r.Stage, r.Step)
	for _, v := range r.Result {
		if _, twice := s.verdicts[v.Candidate]; twice || int(v.Candidate) >= len(s.drawn) {
			return discrepancy("step %d, wave %d: a verdict on candidate %d, which was judged before or never drawn", r.Step, r.Wave, v.Candidate)
		}
		s.verdicts[v.Candidate] = v
	}
	return nil
}

func (a *auditor) group(r grouse.GroupRecord) error {
	s := a.opened(r.Stage, r.Step)
	if len(r.Groups) != len(s.drawn) {
		return discrepancy("step %d: %d prompts were drawn, %d have a final state", r.Step, len(s.drawn), len(r.Groups))
	}
	for i, g := range r.Groups {
		p, v := s.drawn[i], s.verdicts[g.Candidate]
		if g.Candidate != p.Candidate || g.RowID != p.RowID || g.Domain != p.Domain {
			return discrepancy("step %d: candidate %d (%s) was drawn, the final state is that of candidate %d (%s)", r.Step, p.Candidate, p.RowID, g.Candidate, g.RowID)
		}
		want := v.State
		if want == grouse.GroupScored {
			want = grouse.GroupTrained
		}
		if g.State != want || g.Reason != v.Reason {
			return discrepancy("step %d: candidate %d (%s) was judged %q %q, its final state is %q %q", r.Step, g.Candidate, g.RowID, v.State, v.Reason, g.State, g.Reason)
		}
		switch g.State {
		case grouse.GroupTrained:
			a.out.Trained++
			continue
		case grouse.GroupFiltered:
			a.out.Filtered++
		case grouse.GroupFailed:
			a.out.Failed++
		default:
			return discrepancy("step %d: candidate %d (%s) has the final state %q", r.Step, g.Candidate, g.RowID, g.State)
		}
		a.out.Reasons[string(grouse.ReasonOf(g.Reason))]++
	}
	s.final, s.digest = r.Groups, r.BatchSHA256
	return nil
}

func (a *auditor) commit(r grouse.BatchRecord) error {
	key := r.RecordKey()
	s := a.open[key]
	if a.batch != nil {
		return discrepancy("the batch of step %d was committed before that of step %d was trained on", r.Step, a.batch.Step)
	}
	if s == nil || s.final == nil && len(s.drawn) > 0 {
		return discrepancy("the batch of step %d was committed, but no final states of its prompts", r.Step)
	}
	delete(a.open, key)
	if err := a.follows("the batch of step", r.Stage, r.Step, r.PrevChain); err != nil {
		return err
	}
	if d := activities.BatchDigest(r); d != r.BatchSHA256 || d != s.digest {
		return discrepancy("the batch of step %d has SHA-256 %.12s, recorded are %.12s (batch) and %.12s (final states)", r.Step, d, r.BatchSHA256, s.digest)
	}
	a.batch = &r
	return a.contents(r, s)
}

// contents compares the bytes that were trained on with the final states.
func (a *auditor) contents(r grouse.BatchRecord, s *openStep) error {
	var trained []grouse.FinalGroup
	for _, g := range s.final {
		if g.State == grouse.GroupTrained {
			trained = append(trained, g)
		}
	}
	if r.Groups == "" {
		if len(trained) > 0 || r.Rows > 0 {
			return discrepancy("step %d: %d groups are trained, the batch is empty", r.Step, len(trained))
		}
		return nil
	}
	if other, twice := a.blobs[r.Groups]; twice {
		return discrepancy("the groups of step %s were trained on before, in step %s", r.RecordKey(), other)
	}
	a.blobs[r.Groups] = r.RecordKey()
	data, err := ledger.ReadBlob(a.dir, r.Groups)
	if err != nil {
		return discrepancy("the batch of step %d: %w", r.Step, err)
	}
	groups, err := wire.DecodeGroups(data)
	if err != nil {
		return discrepancy("the batch of step %d: %w", r.Step, err)
	}
	if data, err = ledger.ReadBlob(a.dir, r.Scores); err != nil {
		return discrepancy("the scores of step %d: %w", r.Step, err)
	}
	scores, err := wire.DecodeScores(data)
	if err != nil {
		return discrepancy("the scores of step %d: %w", r.Step, err)
	}
	if len(groups) != len(trained) || len(scores) != len(trained) {
		return discrepancy("step %d: %d groups are trained, the batch has %d with %d scores", r.Step, len(trained), len(groups), len(scores))
	}
	rows := 0
	for i, g := range groups {
		if g.Candidate != trained[i].Candidate || g.Prompt.RowID != trained[i].RowID || scores[i].Candidate != g.Candidate || len(scores[i].Scores) != len(g.Rollouts) {
			return discrepancy("step %d: candidate %d (%s) is trained, the batch has candidate %d (%s)", r.Step, trained[i].Candidate, trained[i].RowID, g.Candidate, g.Prompt.RowID)
		}
		rows += len(g.Rollouts)
	}
	if rows != r.Rows {
		return discrepancy("step %d: the batch has %d completions, recorded are %d", r.Step, rows, r.Rows)
	}
	a.out.Completions += rows
	return nil
}

func (a *auditor) step(r grouse.StepRecord) error {
	if err := a.follows("step", r.Stage, r.Step, r.PrevChain); err != nil {
		return err
	}
	if a.batch == nil || a.batch.RecordKey() != r.RecordKey() || a.batch.BatchSHA256 != r.BatchSHA256 {
		return discrepancy("step %d of stage %d was trained on a batch that was not committed", r.Step, r.Stage)
	}
	for name, v := range a.batch.Stats {
		if got, ok := r.Stats[name]; !ok || got != v && !(got != got && v != v) {
			return discrepancy("step %d: %s is %v, the batch says %v", r.Step, name, got, v)
		}
	}
	a.batch = nil
	a.out.Steps++
	return a.advance("step", grouse.PolicyRef{Stage: r.Stage, Version: r.Step, Chain: r.Chain}, r.PrevChain, r.BatchSHA256, r.Stats)
}

// known checks that weights which a record names are some that there were.
func (a *auditor) known(what string, stage int, step int64, chain string) error {
	if h, ok := a.chains[grouse.StepKey(stage, step)]; !ok || h != chain {
		return discrepancy("the %s of step %d of stage %d is of chain %.12s, the weights were %.12s", what, step, stage, chain, h)
	}
	return nil
}

func (a *auditor) checkpoint(r grouse.CheckpointRecord) error {
	if err := a.known("checkpoint", r.Stage, r.Step, r.Chain); err != nil {
		return err
	}
	a.out.Checkpoints++
	a.saved[filepath.Base(r.Dir)] = true
	a.last = r
	path := filepath.Join(a.dir, "checkpoints", filepath.Base(r.Dir))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		a.out.Pruned++
		return nil
	}
	d, err := checkpoint.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	switch {
	case d.Manifest.WeightsSHA256 != r.WeightsSHA256:
		return discrepancy("checkpoint %s: its weights have SHA-256 %s, recorded are %s", r.Dir, d.Manifest.WeightsSHA256, r.WeightsSHA256)
	case d.ManifestSHA256 != r.ManifestSHA256:
		return discrepancy("checkpoint %s: its manifest has SHA-256 %s, recorded is %s", r.Dir, d.ManifestSHA256, r.ManifestSHA256)
	case d.State.Chain != r.Chain || d.State.Stage != r.Stage || d.State.Step != r.Step:
		return discrepancy("checkpoint %s: it is of stage %d, step %d, chain %.12s, recorded are %d, %d, %.12s", r.Dir, d.State.Stage, d.State.Step, d.State.Chain, r.Stage, r.Step, r.Chain)
	case d.Manifest.RecipeSHA256 != a.recipe:
		return discrepancy("checkpoint %s is of another recipe", r.Dir)
	}
	a.out.Whole++
	return nil
}

// folder looks at what lies beside the ledger.
func (a *auditor) folder() error {
	list, err := checkpoint.List(filepath.Join(a.dir, "checkpoints"))
	if err != nil {
		return err
	}
	for _, e := range list {
		if !a.saved[e.Name] {
			a.out.Unrecorded = append(a.out.Unrecorded, e.Name)
		}
	}
	if a.out.Checkpoints > 0 {
		path := filepath.Join(a.dir, "checkpoints", filepath.Base(a.last.Dir))
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return discrepancy("the newest checkpoint, %s, is gone", a.last.Dir)
		}
	}
	return nil
}
