package wire

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/grouse-rl/grouse"
)

// EncodeGroups writes groups as a rollout/1 batch. Groups must come in ascending
// order of candidate and rollouts in ascending order of sample. Of a prompt, the row
// id, the domain and the token ids are kept: the rest is looked up by row id.
func EncodeGroups(groups []grouse.Group) ([]byte, error) {
	rec, err := rolloutRecord(newSchema(RolloutSchema, RolloutVersion, rolloutFields...), groups)
	if err != nil {
		return nil, err
	}
	defer rec.Release()
	return encode(rec)
}

// rolloutRecord fills the first columns of the schema, those of rolloutFields.
func rolloutRecord(schema *arrow.Schema, groups []grouse.Group) (arrow.Record, error) {
	b := array.NewRecordBuilder(memory.NewGoAllocator(), arrow.NewSchema(rolloutFields, nil))
	defer b.Release()
	for i := range groups {
		g := &groups[i]
		if i > 0 && g.Candidate <= groups[i-1].Candidate {
			return nil, grouse.Errorf(grouse.Invalid, "encode groups: candidate %d after %d", g.Candidate, groups[i-1].Candidate)
		}
		for j := range g.Rollouts {
			if j > 0 && g.Rollouts[j].Sample <= g.Rollouts[j-1].Sample {
				return nil, grouse.Errorf(grouse.Invalid, "encode groups: candidate %d: sample %d after %d", g.Candidate, g.Rollouts[j].Sample, g.Rollouts[j-1].Sample)
			}
			if err := appendRollout(b, g, &g.Rollouts[j]); err != nil {
				return nil, grouse.Errorf(grouse.Invalid, "encode groups: candidate %d, sample %d: %w", g.Candidate, g.Rollouts[j].Sample, err)
			}
		}
	}
	rec := b.NewRecord()
	defer rec.Release()
	return array.NewRecord(schema, rec.Columns(), rec.NumRows()), nil
}

func appendRollout(b *array.RecordBuilder, g *grouse.Group, r *grouse.Rollout) error {
	if r.Routing.Layers < 0 || r.Routing.Layers > math.MaxUint16 || r.Routing.K < 0 || r.Routing.K > math.MaxUint16 {
		return fmt.Errorf("routing of %d layers and %d experts", r.Routing.Layers, r.Routing.K)
	}
	b.Field(0).(*array.Uint32Builder).Append(g.Candidate)
	b.Field(1).(*array.Uint16Builder).Append(r.Sample)
	b.Field(2).(*array.StringBuilder).Append(g.Prompt.RowID)
	b.Field(3).(*array.StringBuilder).Append(g.Prompt.Domain)
	appendInt32s(b.Field(4), g.Prompt.TokenIDs, true)
	appendInt32s(b.Field(5), r.ResponseIDs, true)
	mask := b.Field(6).(*array.ListBuilder)
	mask.Append(r.Mask != nil)
	mask.ValueBuilder().(*array.Uint8Builder).AppendValues(r.Mask, nil)
	appendFloat32s(b.Field(7), r.Logprobs, true)
	appendFloat32s(b.Field(8), r.Entropy, false)
	versions := b.Field(9).(*array.ListBuilder)
	versions.Append(true)
	versions.ValueBuilder().(*array.Int64Builder).AppendValues(r.PolicyVersion, nil)
	b.Field(10).(*array.StringBuilder).Append(string(r.Finish))
	kept := b.Field(11).(*array.ListBuilder)
	kept.Append(r.Kept.Offsets != nil)
	if r.Kept.Offsets != nil {
		kept.ValueBuilder().(*array.Int32Builder).AppendValues(r.Kept.IDs, nil)
	}
	appendInt32s(b.Field(12), r.Kept.Offsets, false)
	if experts := b.Field(13).(*array.BinaryBuilder); r.Routing.Experts == nil {
		experts.AppendNull()
	} else {
		raw := make([]byte, 0, 2*len(r.Routing.Experts))
		for _, e := range r.Routing.Experts {
			raw = binary.LittleEndian.AppendUint16(raw, uint16(e))
		}
		experts.Append(raw)
	}
	b.Field(14).(*array.Uint16Builder).Append(uint16(r.Routing.Layers))
	b.Field(15).(*array.Uint16Builder).Append(uint16(r.Routing.K))
	b.Field(16).(*array.Float32Builder).Append(g.Sampling.Temperature)
	b.Field(17).(*array.Int32Builder).Append(g.Sampling.TopK)
	b.Field(18).(*array.Float32Builder).Append(g.Sampling.TopP)
	b.Field(19).(*array.Float32Builder).Append(g.Sampling.MinP)
	b.Field(20).(*array.Uint64Builder).Append(g.Seed)
	b.Field(21).(*array.StringBuilder).Append(r.Text)
	return nil
}

// appendInt32s appends a list; null if v is nil and the column is not required.
func appendInt32s(b array.Builder, v []int32, required bool) {
	l := b.(*array.ListBuilder)
	l.Append(required || v != nil)
	l.ValueBuilder().(*array.Int32Builder).AppendValues(v, nil)
}

func appendFloat32s(b array.Builder, v []float32, required bool) {
	l := b.(*array.ListBuilder)
	l.Append(required || v != nil)
	l.ValueBuilder().(*array.Float32Builder).AppendValues(v, nil)
}

// DecodeGroupsOf verifies data against its SHA-256, hex, and decodes it.
func DecodeGroupsOf(sha256Hex string, data []byte) ([]grouse.Group, error) {
	if err := Verify(sha256Hex, data); err != nil {
		return nil, err
	}
	return DecodeGroups(data)
}

// DecodeGroups reads a rollout batch whose bytes were verified. The groups'
// prompts have row id, domain and token ids. An error is Corrupt, or Invalid for a newer version. Groups
// are not checked beyond their form: Group.Validate does that.
func DecodeGroups(data []byte) ([]grouse.Group, error) {
	var groups []grouse.Group
	err := decode(data, RolloutSchema, RolloutVersion, rolloutFields, func(c *columns) error {
		for i := range c.rows {
			candidate := c.u32("candidate", i)
			if n := len(groups); n == 0 || groups[n-1].Candidate != candidate {
				if n > 0 && groups[n-1].Candidate > candidate {
					return badColumn("candidate", "row %d: %d after %d", i, candidate, groups[n-1].Candidate)
				}
				g, err := readGroup(c, i)
				if err != nil {
					return err
				}
				groups = append(groups, g)
			}
			r, err := readRollout(c, i)
			if err != nil {
				return err
			}
			g := &groups[len(groups)-1]
			if n := len(g.Rollouts); n > 0 && g.Rollouts[n-1].Sample >= r.Sample {
				return badColumn("sample", "row %d: %d after %d", i, r.Sample, g.Rollouts[n-1].Sample)
			}
			g.Rollouts = append(g.Rollouts, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return groups, nil
}

func readGroup(c *columns, i int) (grouse.Group, error) {
	ids, err := list(c, "prompt_ids", i, int32s)
	return grouse.Group{
		Candidate: c.u32("candidate", i),
		Prompt:    grouse.Prompt{RowID: c.text("row_id", i), Domain: c.text("domain", i), TokenIDs: ids},
		Sampling: grouse.Sampling{
			Temperature: c.f32("temperature", i), TopK: c.i32("top_k", i), TopP: c.f32("top_p", i), MinP: c.f32("min_p", i),
		},
		Seed: c.u64("seed", i),
	}, err
}

func readRollout(c *columns, i int) (r grouse.Rollout, err error) {
	r.Sample = c.u16("sample", i)
	r.Finish = grouse.FinishReason(c.text("finish", i))
	r.Text = c.text("text", i)
	if r.ResponseIDs, err = list(c, "response_ids", i, int32s); err != nil {
		return r, err
	}
	if r.Mask, err = list(c, "mask", i, uint8s); err != nil {
		return r, err
	}
	if r.Logprobs, err = list(c, "rollout_logprobs", i, float32s); err != nil {
		return r, err
	}
	if r.Entropy, err = list(c, "entropy", i, float32s); err != nil {
		return r, err
	}
	if r.PolicyVersion, err = list(c, "policy_version", i, int64s); err != nil {
		return r, err
	}
	if r.Kept.IDs, err = list(c, "kept_ids", i, int32s); err != nil {
		return r, err
	}
	if r.Kept.Offsets, err = list(c, "kept_offsets", i, int32s); err != nil {
		return r, err
	}
	r.Routing.Layers, r.Routing.K = int(c.u16("routed_layers", i)), int(c.u16("routed_k", i))
	if !c.null("routed_experts", i) {
		raw := c.by["routed_experts"].(*array.Binary).Value(i)
		if len(raw)%2 != 0 {
			return r, badColumn("routed_experts", "row %d: %d bytes", i, len(raw))
		}
		r.Routing.Experts = make([]int16, len(raw)/2)
		for j := range r.Routing.Experts {
			r.Routing.Experts[j] = int16(binary.LittleEndian.Uint16(raw[2*j:]))
		}
	}
	return r, nil
}
