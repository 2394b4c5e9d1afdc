// Package tokenizer turns text into token ids and back, with the ids that the
// tokenizers package of Hugging Face gives for the same tokenizer.json.
//
// [Load] reads a model folder, [Parse] the bytes of its files, [Characters]
// makes a character-level tokenizer for a model from scratch:
//
//	tok, err := tokenizer.Load("SmolLM2-135M-Instruct")
//	ids := tok.Encode("Hello", true)
//	text := tok.Decode(ids, true)
//
// Byte-level BPE (GPT-2, Llama 3, Qwen, DeepSeek, SmolLM), SentencePiece-style
// BPE with byte fallback (Llama 2, Mistral, Gemma) and WordLevel models are
// supported; anything else is refused by name. A [Stream] decodes token by token
// and never gives out half a character.
//
// A Tokenizer may be used from several goroutines at once. The files it was read
// from are kept byte for byte: [Tokenizer.Files] goes into checkpoints.
//
// Golden ids: testdata/*/golden.json, by scripts/golden/tokenizer_golden.py.
package tokenizer
