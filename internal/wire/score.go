package wire

import (
	"slices"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/grouse-rl/grouse"
)

// GroupScores is the scores of one group, and its advantages if they were
// computed.
type GroupScores struct {
	Candidate  uint32
	Scores     []grouse.Score // [G], ascending Sample
	Advantages []float64      // [G]; nil: not computed
}

// EncodeScores writes scores as a score/1 batch, in ascending order of candidate
// and sample.
func EncodeScores(groups []GroupScores) ([]byte, error) {
	b := array.NewRecordBuilder(memory.NewGoAllocator(), newSchema(ScoreSchema, ScoreVersion, scoreFields...))
	defer b.Release()
	for i, g := range groups {
		if i > 0 && g.Candidate <= groups[i-1].Candidate {
			return nil, grouse.Errorf(grouse.Invalid, "encode scores: candidate %d after %d", g.Candidate, groups[i-1].Candidate)
		}
		if g.Advantages != nil && len(g.Advantages) != len(g.Scores) {
			return nil, grouse.Errorf(grouse.Invalid, "encode scores: candidate %d: %d advantages for %d scores", g.Candidate, len(g.Advantages), len(g.Scores))
		}
		for j := range g.Scores {
			if j > 0 && g.Scores[j].Sample <= g.Scores[j-1].Sample {
				return nil, grouse.Errorf(grouse.Invalid, "encode scores: candidate %d: sample %d after %d", g.Candidate, g.Scores[j].Sample, g.Scores[j-1].Sample)
			}
			var advantage *float64
			if g.Advantages != nil {
				advantage = &g.Advantages[j]
			}
			appendScore(b, g.Candidate, &g.Scores[j], advantage)
		}
	}
	rec := b.NewRecord()
	defer rec.Release()
	return encode(rec)
}

func appendScore(b *array.RecordBuilder, candidate uint32, s *grouse.Score, advantage *float64) {
	b.Field(0).(*array.Uint32Builder).Append(candidate)
	b.Field(1).(*array.Uint16Builder).Append(s.Sample)
	appendFloat64(b.Field(2), s.Reward)
	appendFloat64(b.Field(3), advantage)
	m := b.Field(4).(*array.MapBuilder)
	m.Append(true)
	names := make([]string, 0, len(s.Parts))
	for n := range s.Parts {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		m.KeyBuilder().(*array.StringBuilder).Append(n)
		m.ItemBuilder().(*array.Float64Builder).Append(s.Parts[n])
	}
	b.Field(5).(*array.StringBuilder).Append(string(s.Outcome))
	b.Field(6).(*array.StringBuilder).Append(s.Explanation)
	if correct := b.Field(7).(*array.BooleanBuilder); s.Correct == nil {
		correct.AppendNull()
	} else {
		correct.Append(*s.Correct)
	}
	b.Field(8).(*array.StringBuilder).Append(s.Failure)
}

func appendFloat64(b array.Builder, v *float64) {
	if v == nil {
		b.AppendNull()
		return
	}
	b.(*array.Float64Builder).Append(*v)
}

// DecodeScoresOf verifies data against its SHA-256, hex, and decodes it.
func DecodeScoresOf(sha256Hex string, data []byte) ([]GroupScores, error) {
	if err := Verify(sha256Hex, data); err != nil {
		return nil, err
	}
	return DecodeScores(data)
}

// DecodeScores reads a score batch whose bytes were verified. Errors are those
// of DecodeGroups.
func DecodeScores(data []byte) ([]GroupScores, error) {
	var groups []GroupScores
	err := decode(data, ScoreSchema, ScoreVersion, scoreFields, func(c *columns) error {
		for i := range c.rows {
			candidate := c.u32("candidate", i)
			if n := len(groups); n == 0 || groups[n-1].Candidate != candidate {
				if n > 0 && groups[n-1].Candidate > candidate {
					return badColumn("candidate", "row %d: %d after %d", i, candidate, groups[n-1].Candidate)
				}
				groups = append(groups, GroupScores{Candidate: candidate})
			}
			g := &groups[len(groups)-1]
			s, err := readScore(c, i)
			if err != nil {
				return err
			}
			if n := len(g.Scores); n > 0 && g.Scores[n-1].Sample >= s.Sample {
				return badColumn("sample", "row %d: %d after %d", i, s.Sample, g.Scores[n-1].Sample)
			}
			g.Scores = append(g.Scores, s)
			if !c.null("advantage", i) {
				g.Advantages = append(g.Advantages, c.by["advantage"].(*array.Float64).Value(i))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if g.Advantages != nil && len(g.Advantages) != len(g.Scores) {
			return nil, grouse.Errorf(grouse.Corrupt, "decode score batch: candidate %d has %d advantages for %d scores", g.Candidate, len(g.Advantages), len(g.Scores))
		}
	}
	return groups, nil
}

func readScore(c *columns, i int) (grouse.Score, error) {
	s := grouse.Score{
		Sample: c.u16("sample", i), Outcome: grouse.Outcome(c.text("outcome", i)),
		Explanation: c.text("explanation", i), Failure: c.text("failure", i),
	}
	if !c.null("reward", i) {
		v := c.by["reward"].(*array.Float64).Value(i)
		s.Reward = &v
	}
	if !c.null("correct", i) {
		v := c.by["correct"].(*array.Boolean).Value(i)
		s.Correct = &v
	}
	m := c.by["parts"].(*array.Map)
	lo, hi := m.ValueOffsets(i)
	keys, items := m.Keys().(*array.String), m.Items().(*array.Float64)
	if lo < 0 || hi < lo || hi > int64(keys.Len()) || hi > int64(items.Len()) {
		return s, badColumn("parts", "row %d: offsets %d to %d of %d", i, lo, hi, keys.Len())
	}
	for j := int(lo); j < int(hi); j++ {
		if s.Parts == nil {
			s.Parts = map[string]float64{}
		}
		s.Parts[string(append([]byte{}, keys.Value(j)...))] = items.Value(j)
	}
	return s, nil
}
