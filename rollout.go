package grouse

import (
	"fmt"
	"math"
)

// FinishReason says why a completion ended.
type FinishReason string

const (
	FinishStop   FinishReason = "stop"   // an end token or a stop string
	FinishLength FinishReason = "length" // max_completion_length was reached: truncated
	FinishAbort  FinishReason = "abort"  // cancelled
)

// Sampling is how tokens are drawn: logits / Temperature, then TopK, then TopP
// over the renormalized survivors, then MinP (spec section 5). Zero means off
// for TopK and MinP; TopP is off at 1 or more, or at 0. Temperature 0 is argmax.
type Sampling struct {
	Temperature float32 `json:"temperature"`
	TopK        int32   `json:"top_k"`
	TopP        float32 `json:"top_p"`
	MinP        float32 `json:"min_p"`
}

// Truncates reports whether a filter may remove tokens.
func (s Sampling) Truncates() bool {
	return s.TopK > 0 || (s.TopP > 0 && s.TopP < 1) || s.MinP > 0
}

// SamplingMask is the kept set S_t of each response token, in compressed rows:
// IDs[Offsets[t]:Offsets[t+1]], ascending. An empty row means that nothing was
// truncated: the whole vocabulary (spec section 5).
type SamplingMask struct {
	IDs     []int32 `json:"ids"`
	Offsets []int32 `json:"offsets"` // [T+1]; nil: no row was truncated
}

// Row returns the kept ids of response token t, nil for the whole vocabulary.
func (m SamplingMask) Row(t int) []int32 {
	if m.Offsets == nil {
		return nil
	}
	if row := m.IDs[m.Offsets[t]:m.Offsets[t+1]]; len(row) > 0 {
		return row
	}
	return nil
}

// Routing is the experts chosen while sampling: Experts[(p*Layers+l)*K+j] is the
// j-th choice in MoE layer l for input token p, p from 0 to prompt+response-2.
// -1 in a whole row: not recorded, route freely (spec section 4).
type Routing struct {
	Experts []int16 `json:"experts"` // [L-1, Layers, K]
	Layers  int     `json:"layers"`
	K       int     `json:"k"`
}

// RoutingShape is what routing of a model looks like; zero: a dense model.
type RoutingShape struct {
	Experts int `json:"experts"` // of a layer
	Layers  int `json:"layers"`  // with experts
	K       int `json:"k"`       // experts of a token
}

// Check refuses routing that cannot be of a model of the shape. Routing that was
// not recorded is of every model.
func (q Routing) Check(shape RoutingShape) error {
	if q.Experts == nil {
		return nil
	}
	if q.Layers != shape.Layers || q.K != shape.K {
		return Errorf(Invalid, "routing of %d layers, %d experts a token, the model has %d layers with experts and takes %d", q.Layers, q.K, shape.Layers, shape.K)
	}
	for i, e := range q.Experts {
		if int(e) >= shape.Experts {
			return Errorf(Invalid, "routing row %d: expert %d of %d", i/(q.K*q.Layers), e, shape.Experts)
		}
	}
	return nil
}

// Rollout is one completion with what sampling recorded.
type Rollout struct {
	Sample        uint16       `json:"sample"`         // index within the group
	ResponseIDs   []int32      `json:"response_ids"`   // [T], the end token included
	Mask          []uint8      `json:"mask"`           // [T], 1 where the policy sampled the token; nil: all ones
	Logprobs      []float32    `json:"logprobs"`       // [T], rollout logprobs under the processed distribution, nats
	Entropy       []float32    `json:"entropy"`        // [T], over the full vocabulary, nats; nil if the engine has none
	PolicyVersion []int64      `json:"policy_version"` // [T], completed steps of the weights that drew the token
	Finish        FinishReason `json:"finish"`
	Kept          SamplingMask `json:"kept"`
	Routing       Routing      `json:"routing"`
	Text          string       `json:"text"` // decoded ResponseIDs, special tokens left out
}

// Tokens returns n_i, the number of response tokens whose mask is 1.
func (r *Rollout) Tokens() int {
	if r.Mask == nil {
		return len(r.ResponseIDs)
	}
	n := 0
	for _, m := range r.Mask {
		n += int(m)
	}
	return n
}

// MaskAt returns m_t.
func (r *Rollout) MaskAt(t int) uint8 {
	if r.Mask == nil {
		return 1
	}
	return r.Mask[t]
}

// Validate checks what training presumes of a rollout (spec section 11) for a
// prompt of promptLen tokens and a vocabulary of vocab ids.
func (r *Rollout) Validate(promptLen, vocab int) error {
	T := len(r.ResponseIDs)
	bad := func(format string, args ...any) error {
		return Errorf(Invalid, "sample %d: %s", r.Sample, fmt.Sprintf(format, args...))
	}
	switch r.Finish {
	case FinishStop, FinishLength:
	default:
		return bad("finish reason %q", r.Finish)
	}
	if T == 0 && r.Finish != FinishStop {
		return bad("no response tokens, finish reason %q", r.Finish)
	}
	if len(r.Logprobs) != T {
		return bad("%d logprobs for %d response tokens", len(r.Logprobs), T)
	}
	if r.Mask != nil && len(r.Mask) != T {
		return bad("%d mask values for %d response tokens", len(r.Mask), T)
	}
	if r.Entropy != nil && len(r.Entropy) != T {
		return bad("%d entropies for %d response tokens", len(r.Entropy), T)
	}
	if len(r.PolicyVersion) != T {
		return bad("%d policy versions for %d response tokens", len(r.PolicyVersion), T)
	}
	if r.Kept.Offsets != nil && (len(r.Kept.Offsets) != T+1 || r.Kept.Offsets[0] != 0 || int(r.Kept.Offsets[T]) != len(r.Kept.IDs)) {
		return bad("kept-set offsets do not fit %d response tokens and %d ids", T, len(r.Kept.IDs))
	}
	for t, id := range r.ResponseIDs {
		if id < 0 || int(id) >= vocab {
			return bad("token %d: id %d is outside the vocabulary of %d", t, id, vocab)
		}
		if m := r.MaskAt(t); m > 1 {
			return bad("token %d: mask %d", t, m)
		}
		lp := float64(r.Logprobs[t])
		if math.IsNaN(lp) || math.IsInf(lp, 0) || lp > 0 {
			return bad("token %d: logprob %v is not a finite number of at most 0", t, lp)
		}
		if err := r.validateKept(t, id, vocab); err != nil {
			return bad("%v", err)
		}
	}
	return r.validateRouting(promptLen, bad)
}

func (r *Rollout) validateKept(t int, id int32, vocab int) error {
	if r.Kept.Offsets == nil {
		return nil
	}
	lo, hi := r.Kept.Offsets[t], r.Kept.Offsets[t+1]
	if lo < 0 || hi < lo || int(hi) > len(r.Kept.IDs) {
		return fmt.Errorf("token %d: kept-set offsets %d to %d", t, lo, hi)
	}
	row, found, last := r.Kept.IDs[lo:hi], lo == hi, int32(-1)
	for _, v := range row {
		if v <= last || int(v) >= vocab {
			return fmt.Errorf("token %d: kept set is not ascending within the vocabulary at id %d", t, v)
		}
		last = v
		found = found || v == id
	}
	if !found && r.MaskAt(t) == 1 {
		return fmt.Errorf("token %d: sampled id %d is not in its kept set of %d", t, id, len(row))
	}
	return nil
}

func (r *Rollout) validateRouting(promptLen int, bad func(string, ...any) error) error {
	q := r.Routing
	if q.Experts == nil {
		return nil
	}
	rows := promptLen + len(r.ResponseIDs) - 1
	if q.Layers <= 0 || q.K <= 0 || len(q.Experts) != rows*q.Layers*q.K {
		return bad("routing of %d values is not [%d, %d, %d]", len(q.Experts), rows, q.Layers, q.K)
	}
	for i := 0; i < len(q.Experts); i += q.K {
		row := q.Experts[i : i+q.K]
		free := row[0] == -1
		for j, e := range row {
			if (e < 0) != free || e < -1 {
				return bad("routing row %d: expert %d", i/q.K, e)
			}
			for _, f := range row[:j] {
				if f == e && !free {
					return bad("routing row %d: expert %d twice", i/q.K, e)
				}
			}
		}
	}
	return nil
}
