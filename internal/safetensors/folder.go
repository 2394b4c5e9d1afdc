package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/grouse-rl/grouse"
)

// Names of a model folder's weight files.
const (
	SingleName = "model.safetensors"
	IndexName  = "model.safetensors.index.json"
)

// maxIndex bounds the index file, in bytes.
const maxIndex = 64 << 20

// Folder is the weights of a model folder, in one file or several. Its methods
// may be called from several goroutines at once.
type Folder struct {
	files []*File
	owner map[string]*File
}

// Index is model.safetensors.index.json.
type Index struct {
	Metadata  map[string]any    `json:"metadata"`
	WeightMap map[string]string `json:"weight_map"` // tensor name to file name
}

// OpenFolder opens the weights in dir. A folder with pickle files only is
// refused: they can run code.
func OpenFolder(dir string) (*Folder, error) {
	if _, err := os.Stat(filepath.Join(dir, IndexName)); err == nil {
		return openSharded(dir)
	}
	f, err := Open(filepath.Join(dir, SingleName))
	if err != nil {
		if grouse.KindOf(err) == grouse.NotFound {
			return nil, noWeights(dir)
		}
		return nil, err
	}
	m := &Folder{files: []*File{f}, owner: map[string]*File{}}
	for _, n := range f.Names() {
		m.owner[n] = f
	}
	return m, nil
}

func noWeights(dir string) error {
	for _, pattern := range []string{"*.bin", "*.pt", "*.pth"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return grouse.Errorf(grouse.Invalid, "folder %q has pickled weights only (%s); they can run code and are never read", dir, filepath.Base(found[0])).
				WithFix("convert them with transformers: AutoModelForCausalLM.from_pretrained(dir).save_pretrained(out)")
		}
	}
	return grouse.Errorf(grouse.NotFound, "folder %q has neither %s nor %s", dir, SingleName, IndexName).
		WithFix("name a Hugging Face model folder, or get one with: grouse pull ORG/NAME")
}

func openSharded(dir string) (_ *Folder, err error) {
	path := filepath.Join(dir, IndexName)
	raw, err := readSmall(path, maxIndex)
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "read index: %w", err)
	}
	var index Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "index %q: %w", path, err)
	}
	if len(index.WeightMap) == 0 {
		return nil, grouse.Errorf(grouse.Corrupt, "index %q: weight_map is empty", path)
	}
	m := &Folder{owner: map[string]*File{}}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	byFile := map[string]*File{}
	for _, name := range sortedKeys(index.WeightMap) {
		shard := index.WeightMap[name]
		if shard != filepath.Base(shard) || shard == "." || shard == ".." {
			return nil, grouse.Errorf(grouse.Corrupt, "index %q: tensor %q lies in %q, which is not a file of the folder", path, name, shard)
		}
		f := byFile[shard]
		if f == nil {
			if f, err = Open(filepath.Join(dir, shard)); err != nil {
				return nil, fmt.Errorf("shard of tensor %q: %w", name, err)
			}
			byFile[shard] = f
			m.files = append(m.files, f)
		}
		if _, ok := f.Info(name); !ok {
			return nil, grouse.Errorf(grouse.Corrupt, "index %q: tensor %q is not in %s", path, name, shard)
		}
		m.owner[name] = f
	}
	return m, nil
}

func readSmall(path string, limit int64) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > limit {
		return nil, fmt.Errorf("%q has %d bytes, more than %d", path, st.Size(), limit)
	}
	return os.ReadFile(path)
}

// Close closes every file.
func (m *Folder) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Names returns the tensors' names, sorted.
func (m *Folder) Names() []string { return sortedKeys(m.owner) }

// Info returns what the header says of a tensor.
func (m *Folder) Info(name string) (Info, bool) {
	f, ok := m.owner[name]
	if !ok {
		return Info{}, false
	}
	return f.Info(name)
}

// Float32 converts a tensor to float32 into dst, [Info.Elems], row-major.
func (m *Folder) Float32(name string, dst []float32) error {
	f, ok := m.owner[name]
	if !ok {
		return grouse.Errorf(grouse.NotFound, "the weights have no tensor %q", name)
	}
	return f.Float32(name, dst)
}

// Bytes returns a tensor's bytes as they are stored.
func (m *Folder) Bytes(name string) ([]byte, error) {
	f, ok := m.owner[name]
	if !ok {
		return nil, grouse.Errorf(grouse.NotFound, "the weights have no tensor %q", name)
	}
	return f.Bytes(name)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Exists reports whether dir holds safetensors weights.
func Exists(dir string) bool {
	for _, n := range []string{SingleName, IndexName} {
		if _, err := os.Stat(filepath.Join(dir, n)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}
