package wire_test

import (
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/wire"
)

// large is a shard of 8 groups of 16 completions of 512 tokens, with kept sets of
// 8 ids a token.
func large() []grouse.Group {
	var groups []grouse.Group
	for c := range 8 {
		g := grouse.Group{Candidate: uint32(c), Prompt: grouse.Prompt{RowID: "math/1", Domain: "math", TokenIDs: make([]int32, 128)}}
		for s := range 16 {
			const T, K = 512, 8
			r := grouse.Rollout{
				Sample: uint16(s), ResponseIDs: make([]int32, T), Logprobs: make([]float32, T), Entropy: make([]float32, T), PolicyVersion: make([]int64, T), Finish: grouse.FinishStop,
				Kept: grouse.SamplingMask{IDs: make([]int32, T*K), Offsets: make([]int32, T+1)},
			}
			for i := range r.Kept.Offsets {
				r.Kept.Offsets[i] = int32(i * K)
			}
			g.Rollouts = append(g.Rollouts, r)
		}
		groups = append(groups, g)
	}
	return groups
}

func BenchmarkEncodeGroups(b *testing.B) {
	groups := large()
	for b.Loop() {
		data, err := wire.EncodeGroups(groups)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(data)))
	}
}

func BenchmarkDecodeGroups(b *testing.B) {
	data, err := wire.EncodeGroups(large())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := wire.DecodeGroups(data); err != nil {
			b.Fatal(err)
		}
	}
}
