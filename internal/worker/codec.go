package worker

import (
	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/internal/wire"
)

// codec is internal/wire as activities see it.
type codec struct{}

var _ activities.Codec = codec{}

func (codec) EncodeGroups(groups []grouse.Group) ([]byte, error) { return wire.EncodeGroups(groups) }
func (codec) DecodeGroups(data []byte) ([]grouse.Group, error)   { return wire.DecodeGroups(data) }

func (codec) EncodeScores(scores []activities.GroupScores) ([]byte, error) {
	out := make([]wire.GroupScores, len(scores))
	for i, s := range scores {
		out[i] = wire.GroupScores{Candidate: s.Candidate, Scores: s.Scores}
	}
	return wire.EncodeScores(out)
}

func (codec) DecodeScores(data []byte) ([]activities.GroupScores, error) {
	in, err := wire.DecodeScores(data)
	if err != nil {
		return nil, err
	}
	out := make([]activities.GroupScores, len(in))
	for i, s := range in {
		out[i] = activities.GroupScores{Candidate: s.Candidate, Scores: s.Scores}
	}
	return out, nil
}
