// Package gguf reads and writes models in llama.cpp's GGUF format.
//
//	f, err := gguf.Open("model.gguf")
//	m, err := f.Model()                       // under Hugging Face's names and layout
//	cfg, tok := m.ConfigJSON(), m.TokenizerFiles()
//	err = m.Float32("model.norm.weight", dst) // dequantized
//
// Tensor types F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K and Q6_K are dequantized on
// load, with the values that the gguf package for Python gives. Architectures
// llama, qwen2 and qwen3 are mapped to the names, shapes and config.json of
// transformers; [Export] goes the other way.
//
// Files are hostile input: every count and length is checked against the bytes
// that are left before anything is allocated, and an error names the key or tensor.
package gguf
