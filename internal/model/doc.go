// Package model holds transformer architectures, one a file, written once over
// internal/tensor: the trainer, the rollout engine and every device run the same
// code.
//
//	cfg, err := model.ParseConfig(configJSON)
//	m, err := model.New(dev, cfg)        // zeroed
//	err = m.Load(weights)                // or m.Init(key)
//	h := m.Forward(g, model.Input{IDs: ids, Pos: pos, Attend: m.InBatch(g, seqs)})
//	lp := g.Logprob(h, m.Head(), targets)
//
// Architectures: Llama (SmolLM2, Llama 3 with its RoPE scaling, Mistral without
// sliding window), Qwen2 and Qwen3 (dense.go); Qwen3-MoE (experts.go, routing.go);
// DeepSeek-V3, R1 and V3.1 (latent.go, absorbed.go), V3.2 (indexer.go). family.go
// lists them; a config of another architecture is an error that names it and lists
// these. FP8 weights in blocks are read (fp8.go); modules for multi-token
// prediction are read over. moe and dsa hold the plain float64 twins of the router
// and the indexer.
//
// A mixture of experts says in Input.Routing which experts its rows took, and takes
// the ones that it is given.
package model
