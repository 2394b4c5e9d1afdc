package grouse

// PolicyRef names one version of the policy's weights.
type PolicyRef struct {
	Stage   int    `json:"stage"`   // index of the stage that made it
	Version int64  `json:"version"` // completed steps of the stage
	Chain   string `json:"chain"`   // H_t, hex: identifies the weights by what made them
}
