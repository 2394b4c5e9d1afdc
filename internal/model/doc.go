// Package model holds transformer architectures, one a file, written once over
// internal/tensor: the trainer, the rollout engine and every device run the same
// code.
//
//	cfg, err := model.ParseConfig(configJSON)
//	m, err := model.New(dev, cfg)        // zeroed
//	err = m.Load(weights)                // or m.Init(key)
//	h := m.Forward(g, model.Input{IDs: ids, Pos: pos, Attend: model.InBatch(g, m, seqs)})
//	lp := g.Logprob(h, m.Head(), targets)
//
// Architectures: Llama (SmolLM2, Llama 3 with its RoPE scaling, Mistral without
// sliding window), Qwen2, Qwen3 in dense.go. A config of another architecture is
// an error that names it and lists these.
package model
