package grouse

// Trace is what the objective saw of a rollout in a step's last pass over it:
// what a viewer colours tokens by. No result depends on it.
type Trace struct {
	Advantage float64
	Dropped   bool      // by the off-policy sequence mask
	Logprobs  []float32 // [T], of the policy being trained, nats
	Ratio     []float32 // [T], pi_theta / pi_old
	KL        []float32 // [T], the estimator before beta, nats; nil without a reference
	Clipped   []bool    // [T], the clip cut the token's gradient
}
