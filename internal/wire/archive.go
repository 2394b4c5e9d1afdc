package wire

import (
	"encoding/json"
	"io"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/grouse-rl/grouse"
)

// ArchivedStep is what is kept of a step's rollouts for people and their tools.
type ArchivedStep struct {
	Stage  int
	Step   int64
	Groups []grouse.Group
	Scores []GroupScores    // of the same candidates and samples; nil: not scored
	Traces [][]grouse.Trace // as Groups' rollouts; nil: not trained on
}

// archiveFields follow the columns of rollout/1.
var archiveFields = []arrow.Field{
	required("stage", arrow.PrimitiveTypes.Int32),
	required("step", arrow.PrimitiveTypes.Int64),
	required("prompt", arrow.BinaryTypes.String), // text
	optional("reward", arrow.PrimitiveTypes.Float64),
	optional("advantage", arrow.PrimitiveTypes.Float64),
	optional("outcome", arrow.BinaryTypes.String),
	optional("correct", arrow.FixedWidthTypes.Boolean),
	optional("explanation", arrow.BinaryTypes.String),
	optional("parts", arrow.BinaryTypes.String),                       // JSON: each reward's value and numbers
	optional("off_policy_masked", arrow.FixedWidthTypes.Boolean),      // by the off-policy sequence mask, in the last pass
	optional("policy_logprobs", listOf(arrow.PrimitiveTypes.Float32)), // [T], of the policy in the last pass, nats
	optional("ratio", listOf(arrow.PrimitiveTypes.Float32)),           // [T], pi_theta / pi_old
	optional("kl", listOf(arrow.PrimitiveTypes.Float32)),              // [T], before beta, nats; null without a reference
	optional("clipped", listOf(arrow.PrimitiveTypes.Uint8)),           // [T], 1 where the clip cut the gradient
}

// ArchiveRollouts writes a step's groups as a Parquet table: the columns of
// rollout/1, then archiveFields.
func ArchiveRollouts(w io.Writer, a ArchivedStep) error {
	schema := newSchema(RolloutSchema, RolloutVersion, append(slices.Clone(rolloutFields), archiveFields...)...)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema(archiveFields, nil))
	defer b.Release()
	byCandidate := map[uint32]*GroupScores{}
	for i := range a.Scores {
		byCandidate[a.Scores[i].Candidate] = &a.Scores[i]
	}
	for i := range a.Groups {
		g := &a.Groups[i]
		gs := byCandidate[g.Candidate]
		if a.Scores != nil && (gs == nil || len(gs.Scores) != len(g.Rollouts)) {
			return grouse.Errorf(grouse.Invalid, "archive rollouts: candidate %d has no scores, or not as many as rollouts", g.Candidate)
		}
		if a.Traces != nil && (len(a.Traces) != len(a.Groups) || len(a.Traces[i]) != len(g.Rollouts)) {
			return grouse.Errorf(grouse.Invalid, "archive rollouts: candidate %d has no traces, or not as many as rollouts", g.Candidate)
		}
		for j := range g.Rollouts {
			var score *grouse.Score
			if gs != nil {
				score = &gs.Scores[j]
			}
			var trace *grouse.Trace
			if a.Traces != nil {
				trace = &a.Traces[i][j]
			}
			b.Field(0).(*array.Int32Builder).Append(int32(a.Stage))
			b.Field(1).(*array.Int64Builder).Append(a.Step)
			b.Field(2).(*array.StringBuilder).Append(g.Prompt.Text)
			if err := archiveScore(b, score); err != nil {
				return grouse.Errorf(grouse.Invalid, "archive rollouts: candidate %d: %w", g.Candidate, err)
			}
			archiveTrace(b, trace)
		}
	}
	extra := b.NewRecord()
	defer extra.Release()
	base, err := rolloutRecord(arrow.NewSchema(rolloutFields, nil), a.Groups)
	if err != nil {
		return err
	}
	defer base.Release()
	rec := array.NewRecord(schema, append(slices.Clone(base.Columns()), extra.Columns()...), base.NumRows())
	defer rec.Release()
	return writeParquet(w, rec)
}

// archiveScore fills the columns from reward to parts, but for the advantage.
func archiveScore(b *array.RecordBuilder, s *grouse.Score) error {
	if s == nil {
		for _, k := range []int{3, 5, 6, 7, 8} {
			b.Field(k).AppendNull()
		}
		return nil
	}
	appendFloat64(b.Field(3), s.Reward)
	b.Field(5).(*array.StringBuilder).Append(string(s.Outcome))
	if s.Correct == nil {
		b.Field(6).AppendNull()
	} else {
		b.Field(6).(*array.BooleanBuilder).Append(*s.Correct)
	}
	b.Field(7).(*array.StringBuilder).Append(s.Explanation)
	parts, err := json.Marshal(s.Parts)
	if err != nil {
		return err
	}
	b.Field(8).(*array.StringBuilder).Append(string(parts))
	return nil
}

// archiveTrace fills the advantage and the columns after parts.
func archiveTrace(b *array.RecordBuilder, tr *grouse.Trace) {
	if tr == nil {
		for _, k := range []int{4, 9, 10, 11, 12, 13} {
			b.Field(k).AppendNull()
		}
		return
	}
	appendFloat64(b.Field(4), &tr.Advantage)
	b.Field(9).(*array.BooleanBuilder).Append(tr.Dropped)
	for k, values := range map[int][]float32{10: tr.Logprobs, 11: tr.Ratio, 12: tr.KL} {
		list := b.Field(k).(*array.ListBuilder)
		if list.Append(values != nil); values != nil {
			list.ValueBuilder().(*array.Float32Builder).AppendValues(values, nil)
		}
	}
	list := b.Field(13).(*array.ListBuilder)
	list.Append(true)
	for _, cut := range tr.Clipped {
		v := uint8(0)
		if cut {
			v = 1
		}
		list.ValueBuilder().(*array.Uint8Builder).Append(v)
	}
}
