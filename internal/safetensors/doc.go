// Package safetensors reads and writes the safetensors format: an 8-byte
// little-endian header length, a JSON header, then the tensors' bytes.
//
// [Open] reads one file, [OpenFolder] a model folder: model.safetensors, or the
// shards that model.safetensors.index.json names. Both check the whole header
// before any tensor is read: sizes, overlaps, gaps, duplicate names. Tensors
// come out as float32 whatever they were stored as:
//
//	m, err := safetensors.OpenFolder(dir)
//	if err != nil { ... }
//	defer m.Close()
//	info, ok := m.Info("model.norm.weight")
//	data := make([]float32, info.Elems())
//	err = m.Float32("model.norm.weight", data)
//
// [Write] makes the same bytes from the same tensors: sorted names, no time, no
// path. It does not sync or rename: trainer/checkpoint does.
//
// Files are hostile input: no allocation follows from a number that was not
// checked against the file's size, and a header may take [MaxHeader] bytes.
package safetensors
