package grouse

// BatchRef names bytes that lie elsewhere (JetStream, a blob, a file): history
// carries references, never the data.
type BatchRef struct {
	Key    string `json:"key"`    // what the work is: "<run>/000003/shard-0001"
	SHA256 string `json:"sha256"` // of the bytes, hex; verified before they are decoded
	Rows   int    `json:"rows"`
	Bytes  int64  `json:"bytes"`
}

// ScoredGroup is a group with its scores: what training consumes.
type ScoredGroup struct {
	Group  Group   `json:"group"`
	Scores []Score `json:"scores"` // [G], as Group.Rollouts
}
