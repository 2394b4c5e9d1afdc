package vectors_test

import (
	"slices"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/logprob"
	"github.com/grouse-rl/grouse/rollout/sampling"
)

type maskInput struct {
	Logits      [][]float64 `json:"logits"`
	LogitsRef   [][]float64 `json:"logits_ref"`
	Tokens      []int32     `json:"tokens"`
	Temperature float32     `json:"temperature"`
	TopK        int32       `json:"top_k"`
	TopP        float32     `json:"top_p"`
	MinP        float32     `json:"min_p"`
	Coef        []float64   `json:"coef"`
}

type maskExpected struct {
	KeptSets     [][]int32   `json:"kept_sets"`
	CSRIDs       []int32     `json:"csr_ids"`
	CSROffsets   []int32     `json:"csr_offsets"`
	Logprobs     []float64   `json:"logprobs"`
	RefLogprobs  []float64   `json:"ref_logprobs"`
	FullLogprobs []float64   `json:"full_logprobs"`
	GradLogits   [][]float64 `json:"grad_logits"`
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// whole lists every id of a vocabulary.
func whole(V int) []int32 {
	ids := make([]int32, V)
	for v := range ids {
		ids[v] = int32(v)
	}
	return ids
}

// overKept is the logprob of a token over a kept set, nil for the whole
// vocabulary, as the engine and the trainer compute it.
func overKept(row []float32, kept []int32, token int32, temperature float32) float64 {
	if kept == nil {
		var m logprob.Masses
		m.Fill(row, temperature)
		return float64(logprob.Full(m.Blocks, row[token], temperature))
	}
	gathered := make([]float32, len(kept))
	for i, id := range kept {
		gathered[i] = row[id]
	}
	return float64(logprob.Kept(gathered, slices.Index(kept, token), temperature))
}

func runSamplingMask(c vectorCase) error {
	var in maskInput
	var want maskExpected
	if err := noConfig(c); err != nil {
		return err
	}
	if err := decode("input", c.Input, &in); err != nil {
		return err
	}
	if err := decode("expected", c.Expected, &want); err != nil {
		return err
	}
	set := grouse.Sampling{Temperature: in.Temperature, TopK: in.TopK, TopP: in.TopP, MinP: in.MinP}
	got := maskExpected{CSRIDs: []int32{}, CSROffsets: []int32{0}}
	for t := range in.Logits {
		row := narrow(in.Logits[t])
		V := len(row)
		s, err := sampling.New(set, V)
		if err != nil {
			return err
		}
		draw, err := s.Sample(row, 0.5, nil)
		if err != nil {
			return err
		}
		kept := slices.Clone(draw.Kept)
		ids := kept
		if kept == nil {
			ids = whole(V)
		}
		token := in.Tokens[t]
		got.KeptSets = append(got.KeptSets, ids)
		got.CSRIDs = append(got.CSRIDs, kept...)
		got.CSROffsets = append(got.CSROffsets, int32(len(got.CSRIDs)))
		got.Logprobs = append(got.Logprobs, overKept(row, kept, token, in.Temperature))
		got.RefLogprobs = append(got.RefLogprobs, overKept(narrow(in.LogitsRef[t]), kept, token, in.Temperature))
		got.FullLogprobs = append(got.FullLogprobs, overKept(row, nil, token, in.Temperature))
		gathered, g, grad := make([]float32, len(ids)), make([]float64, len(ids)), make([]float64, V)
		for i, id := range ids {
			gathered[i] = row[id]
		}
		logprob.KeptGrad(g, gathered, slices.Index(ids, token), in.Temperature, in.Coef[t])
		for i, id := range ids {
			grad[id] = g[i]
		}
		got.GradLogits = append(got.GradLogits, grad)
	}
	var d diff
	d.exact("kept_sets", got.KeptSets, want.KeptSets)
	d.exact("csr_ids", got.CSRIDs, want.CSRIDs)
	d.exact("csr_offsets", got.CSROffsets, want.CSROffsets)
	d.numbers("logprobs", got.Logprobs, want.Logprobs, single)
	d.numbers("ref_logprobs", got.RefLogprobs, want.RefLogprobs, single)
	d.numbers("full_logprobs", got.FullLogprobs, want.FullLogprobs, single)
	d.ragged("grad_logits", got.GradLogits, want.GradLogits, single)
	return d.err()
}
