package engine

import (
	"slices"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
)

// Request asks for N completions of one prompt.
type Request struct {
	Prompt      []int32
	N           int                      // completions, samples FirstSample..FirstSample+N-1
	FirstSample int                      //
	Sampling    grouse.Sampling          //
	MaxTokens   int                      // of a completion
	StopIDs     []int32                  // end tokens; the one that ends a completion is part of it
	StopStrings []string                 // end a completion when its text contains one
	Decode      func(ids []int32) string // needed for StopStrings and Rollout.Text; nil: no text

	// Token t of sample s is drawn with the uniform number Key.Uniform(t, s,
	// Candidate, Step) (design section 11).
	Key       rng.Key
	Step      uint32
	Candidate uint32

	// KeepRouting records the experts of every token, prompt included, in
	// Rollout.Routing; a dense model has none.
	KeepRouting bool

	// Token, if not nil, is called for each token as it is drawn, from the
	// engine's goroutine: it must not block.
	Token func(sample int, id int32, logprob float32)
}

func (r *Request) check(vocab, maxTokens int) error {
	switch {
	case len(r.Prompt) == 0:
		return grouse.Errorf(grouse.Invalid, "generate: the prompt has no tokens")
	case r.N < 1:
		return grouse.Errorf(grouse.Invalid, "generate: %d completions asked for", r.N)
	case r.MaxTokens < 1:
		return grouse.Errorf(grouse.Invalid, "generate: max_completion_length is %d", r.MaxTokens)
	case len(r.StopStrings) > 0 && r.Decode == nil:
		return grouse.Errorf(grouse.Invalid, "generate: stop strings need a tokenizer")
	case slices.Contains(r.StopStrings, ""):
		return grouse.Errorf(grouse.Invalid, "generate: an empty stop string")
	case blocksFor(len(r.Prompt)+r.MaxTokens) > maxTokens:
		return grouse.Errorf(grouse.Invalid, "generate: a prompt of %d tokens and %d more do not fit the cache of %d tokens",
			len(r.Prompt), r.MaxTokens, maxTokens*blockTokens).WithFix("raise rollout.max_kv_tokens")
	}
	for i, id := range r.Prompt {
		if id < 0 || int(id) >= vocab {
			return grouse.Errorf(grouse.Invalid, "generate: prompt token %d is %d, the vocabulary has %d ids", i, id, vocab)
		}
	}
	return nil
}
