package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/safetensors"
)

// Tensors calls yield with each tensor, row-major; data is valid during the call
// only. It is called twice, unless something else says which there are, and must name the
// same tensors both times.
type Tensors func(yield func(name string, shape []int, data []float32) error) error

// Content is what a checkpoint holds.
type Content struct {
	State   State
	Weights Tensors
	Moments Tensors // optimizer state; nil: none
	// MomentShapes calls yield with the names and shapes of Moments, which is then called
	// once. Nil: Moments says it.
	MomentShapes func(yield func(name string, shape []int) error) error

	Files map[string][]byte // config.json, the tokenizer's files, generation_config.json

	RecipeSHA256 string
	Device       string
	Prev         string // Saved.ManifestSHA256 of the checkpoint before

	DType      safetensors.DType // of the weights; "": F32
	ShardBytes int64             // most bytes of weights in one file; 0: 5 GB
}

// Saved names a checkpoint that is whole on disk.
type Saved struct {
	Dir            string
	WeightsSHA256  string
	ManifestSHA256 string
}

// Prefixes of folders that are not checkpoints: being written, being replaced.
const (
	tmpPrefix = ".tmp-"
	oldPrefix = ".old-"
)

const defaultShard = 5_000_000_000

// Save writes a checkpoint to root/name. If there is one of that name with the
// same content it is left as it is; another one is replaced. The error is
// Unavailable when the disk is full; nothing is left behind then.
func Save(root, name string, c Content) (_ *Saved, err error) {
	if !plainName(name) || strings.HasPrefix(name, ".") {
		return nil, grouse.Errorf(grouse.Invalid, "save checkpoint: name %q", name)
	}
	defer func() {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = grouse.Errorf(grouse.Unavailable, "save checkpoint %q: %w", name, err).
				WithFix("free space on the disk of %s, or lower checkpoint.keep, then resume", root)
		}
	}()
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "save checkpoint: %w", err)
	}
	if err := sweep(root); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(root, tmpPrefix+name+"-")
	if err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "save checkpoint: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return nil, err
	}
	m, err := writeAll(tmp, &c)
	if err != nil {
		return nil, fmt.Errorf("save checkpoint %q: %w", name, err)
	}
	_, sum, err := readManifest(tmp)
	if err != nil {
		return nil, err
	}
	saved := &Saved{Dir: filepath.Join(root, name), WeightsSHA256: m.WeightsSHA256, ManifestSHA256: sum}
	return saved, publish(root, tmp, name, sum)
}

// writeAll writes and syncs every file of the folder, the manifest last.
func writeAll(dir string, c *Content) (*Manifest, error) {
	if err := writeWeights(dir, c); err != nil {
		return nil, err
	}
	if c.Moments != nil {
		if err := writeTensors(dir, []string{OptimizerName}, c.MomentShapes, c.Moments, safetensors.F32, 0); err != nil {
			return nil, err
		}
	}
	state, err := json.MarshalIndent(c.State, "", "  ")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{StateName: append(state, '\n')}
	for name, b := range c.Files {
		if !plainName(name) || name == ManifestName || name == StateName || strings.HasSuffix(name, ".safetensors") {
			return nil, grouse.Errorf(grouse.Invalid, "a file named %q", name)
		}
		files[name] = b
	}
	for name, b := range files {
		if err := writeFile(filepath.Join(dir, name), b); err != nil {
			return nil, err
		}
	}
	m, err := describe(dir, c)
	if err != nil {
		return nil, err
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, ManifestName), append(raw, '\n')); err != nil {
		return nil, err
	}
	return m, syncDir(dir)
}

// describe hashes the files as they are on disk.
func describe(dir string, c *Content) (*Manifest, error) {
	m := &Manifest{
		Format: Format, Version: FormatVersion, Stage: c.State.Stage, Step: c.State.Step, Chain: c.State.Chain,
		RecipeSHA256: c.RecipeSHA256, Device: c.Device, Prev: c.Prev, Files: map[string]File{},
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if m.Files[e.Name()], err = hashFile(filepath.Join(dir, e.Name()), nil); err != nil {
			return nil, err
		}
	}
	m.WeightsSHA256, err = WeightsSHA256(dir)
	return m, err
}

func writeWeights(dir string, c *Content) error {
	limit := c.ShardBytes
	if limit == 0 {
		limit = defaultShard
	}
	dtype := c.DType
	if dtype == "" {
		dtype = safetensors.F32
	}
	return writeTensors(dir, nil, nil, c.Weights, dtype, limit)
}

// writeTensors writes the tensors to the file named, or, with no name, to
// model.safetensors or shards of at most limit bytes with their index. shapes says which
// there are; nil: tensors does.
func writeTensors(dir string, name []string, shapes func(func(string, []int) error) error, tensors Tensors, dtype safetensors.DType, limit int64) (err error) {
	if shapes == nil {
		shapes = func(yield func(string, []int) error) error {
			return tensors(func(n string, shape []int, _ []float32) error { return yield(n, shape) })
		}
	}
	var all []safetensors.Tensor
	err = shapes(func(n string, shape []int) error {
		all = append(all, safetensors.Tensor{Name: n, DType: dtype, Shape: slices.Clone(shape)})
		return nil
	})
	if err != nil {
		return err
	}
	shards, index := safetensors.Plan(all, limit)
	if len(name) > 0 {
		shards, index = []safetensors.Shard{{Name: name[0], Tensors: all}}, nil
	}
	type target struct {
		file   *os.File
		layout *safetensors.Layout
		left   map[string]bool
	}
	owner := map[string]*target{}
	var targets []*target
	defer func() {
		for _, t := range targets {
			if t.file != nil {
				t.file.Close()
			}
		}
	}()
	for _, s := range shards {
		t := &target{left: map[string]bool{}}
		if t.layout, err = safetensors.NewLayout(s.Tensors, map[string]string{"format": "pt"}); err != nil {
			return err
		}
		if t.file, err = os.OpenFile(filepath.Join(dir, s.Name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644); err != nil {
			return err
		}
		targets = append(targets, t)
		if err := t.layout.WriteHeader(t.file); err != nil {
			return err
		}
		for _, x := range s.Tensors {
			owner[x.Name] = t
			t.left[x.Name] = true
		}
	}
	err = tensors(func(n string, _ []int, data []float32) error {
		t := owner[n]
		if t == nil || !t.left[n] {
			return grouse.Errorf(grouse.Internal, "tensor %q was not there, or only once, the first time", n)
		}
		delete(t.left, n)
		return t.layout.Put(t.file, n, data)
	})
	if err != nil {
		return err
	}
	for _, t := range targets {
		if len(t.left) > 0 {
			return grouse.Errorf(grouse.Internal, "%d tensors were missing the second time", len(t.left))
		}
		if err := t.file.Truncate(t.layout.Size()); err != nil { // a tensor of no elements writes nothing
			return err
		}
		if err := t.file.Sync(); err != nil {
			return err
		}
		err := t.file.Close()
		t.file = nil
		if err != nil {
			return err
		}
	}
	if index == nil {
		return nil
	}
	raw, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, safetensors.IndexName), append(raw, '\n'))
}

func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// publish gives the finished folder its name.
func publish(root, tmp, name, sum string) error {
	final := filepath.Join(root, name)
	if _, err := os.Lstat(final); err == nil {
		if _, have, err := readManifest(final); err == nil && have == sum {
			if d, err := Open(final); err == nil {
				return d.Close() // the same checkpoint, whole
			}
		}
		old := filepath.Join(root, oldPrefix+name)
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		if err := os.Rename(final, old); err != nil {
			return err
		}
		defer os.RemoveAll(old)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return fmt.Errorf("publish checkpoint: %w", err)
	}
	return syncDir(root)
}

// sweep removes what a crash left half-written.
func sweep(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "checkpoints: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) || strings.HasPrefix(e.Name(), oldPrefix) {
			if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
				return grouse.Errorf(grouse.Unavailable, "checkpoints: %w", err)
			}
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
