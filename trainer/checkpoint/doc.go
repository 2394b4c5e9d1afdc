// Package checkpoint writes a policy to disk so that it is whole or absent, and
// reads it back only if it is what was written.
//
//	saved, err := checkpoint.Save(root, checkpoint.Name(20), checkpoint.Content{...})
//	found, skipped, err := checkpoint.Latest(root)
//	dir, err := checkpoint.Open(filepath.Join(root, "step-000020"))
//
// A checkpoint is a Hugging Face folder (config.json, model*.safetensors, the
// tokenizer's files) that transformers loads, with optimizer.safetensors,
// state.json and, written last, MANIFEST.json with the SHA-256 of every file.
//
// Save writes to a temporary folder, syncs every file and the folder, renames,
// and syncs the parent: after a crash at any moment there is the new checkpoint or
// there is none. Open verifies every hash before anything is used; a file that
// does not match is a Corrupt error that names it. Latest passes bad checkpoints
// over and says which and why.
//
// One process writes to a root at a time (the run's ledger lock sees to that).
package checkpoint
