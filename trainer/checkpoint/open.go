package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/safetensors"
)

// Dir is a checkpoint whose every byte was verified. Close it after use.
type Dir struct {
	Path           string
	State          State
	Manifest       Manifest
	ManifestSHA256 string

	weights *safetensors.Folder
	moments *safetensors.File
}

// Open verifies every file of the checkpoint and opens it. The error is NotFound
// if there is no such folder and Corrupt, naming the file, if a byte differs.
func Open(path string) (*Dir, error) {
	m, sum, err := readManifest(path)
	if err != nil {
		return nil, err
	}
	if err := verify(path, m); err != nil {
		return nil, err
	}
	d := &Dir{Path: path, Manifest: *m, ManifestSHA256: sum}
	raw, err := readSmall(filepath.Join(path, StateName))
	if err != nil {
		return nil, corrupt(path, "%w", err)
	}
	if err := json.Unmarshal(raw, &d.State); err != nil {
		return nil, corrupt(path, "%s: %w", StateName, err)
	}
	if d.weights, err = safetensors.OpenFolder(path); err != nil {
		return nil, err
	}
	if _, ok := m.Files[OptimizerName]; ok {
		if d.moments, err = safetensors.Open(filepath.Join(path, OptimizerName)); err != nil {
			d.weights.Close()
			return nil, err
		}
	}
	return d, nil
}

// verify hashes every file that the manifest names.
func verify(path string, m *Manifest) error {
	names := make([]string, 0, len(m.Files))
	for n := range m.Files {
		names = append(names, n)
	}
	sort.Strings(names)
	if _, ok := m.Files[StateName]; !ok {
		return corrupt(path, "%s does not name %s", ManifestName, StateName)
	}
	weights := sha256.New()
	found := map[string]bool{}
	for _, name := range names {
		var into io.Writer
		if strings.HasPrefix(name, "model") && strings.HasSuffix(name, ".safetensors") {
			into = weights
			found[name] = true
		}
		got, err := hashFile(filepath.Join(path, name), into)
		switch want := m.Files[name]; {
		case errors.Is(err, fs.ErrNotExist):
			return corrupt(path, "%s is missing", name)
		case err != nil:
			return grouse.Errorf(grouse.Unavailable, "checkpoint %q: %w", path, err)
		case got.Bytes != want.Bytes:
			return corrupt(path, "%s has %d bytes, %d were written", name, got.Bytes, want.Bytes)
		case got.SHA256 != want.SHA256:
			return corrupt(path, "%s is not what was written (SHA-256 %.12s…, written %.12s…)", name, got.SHA256, want.SHA256)
		}
	}
	if got := hex.EncodeToString(weights.Sum(nil)); got != m.WeightsSHA256 {
		return corrupt(path, "%s: weights_sha256 does not fit the files", ManifestName)
	}
	onDisk, err := weightFiles(path)
	if err != nil {
		return corrupt(path, "%w", err)
	}
	for _, n := range onDisk {
		if !found[n] {
			return corrupt(path, "%s is not in %s", n, ManifestName)
		}
	}
	return nil
}

// Close closes the files.
func (d *Dir) Close() error {
	err := d.weights.Close()
	if d.moments != nil {
		err = errors.Join(err, d.moments.Close())
	}
	return err
}

// Weights returns the policy's tensors.
func (d *Dir) Weights() *Source { return &Source{d.weights} }

// Moments returns the optimizer's tensors, nil if the checkpoint has none.
func (d *Dir) Moments() *Source {
	if d.moments == nil {
		return nil
	}
	return &Source{d.moments}
}

// File returns one of the small files, e.g. config.json.
func (d *Dir) File(name string) ([]byte, error) {
	if _, ok := d.Manifest.Files[name]; !ok {
		return nil, grouse.Errorf(grouse.NotFound, "checkpoint %q has no %s", d.Path, name)
	}
	return os.ReadFile(filepath.Join(d.Path, name))
}

// tensors is what Source reads from.
type tensors interface {
	Names() []string
	Info(name string) (safetensors.Info, bool)
	Float32(name string, dst []float32) error
}

// Source gives tensors by name.
type Source struct{ t tensors }

// Names returns the tensors' names, sorted.
func (s *Source) Names() []string { return s.t.Names() }

// Shape returns a tensor's shape, nil if there is none of the name.
func (s *Source) Shape(name string) []int {
	info, ok := s.t.Info(name)
	if !ok {
		return nil
	}
	return append([]int{}, info.Shape...)
}

// Float32 reads a tensor, row-major, into dst of its size.
func (s *Source) Float32(name string, dst []float32) error { return s.t.Float32(name, dst) }

// Entry is one folder under a root, verified or not.
type Entry struct {
	Name  string
	Stage int
	Step  int64
	Err   error // its manifest cannot be read
}

// List returns the checkpoints under root, the latest first: by stage and step,
// then those whose manifest cannot be read. Files are not verified. A root that
// does not exist has none.
func List(root string) ([]Entry, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "checkpoints: %w", err)
	}
	var list []Entry
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		m, _, err := readManifest(filepath.Join(root, e.Name()))
		if err != nil {
			list = append(list, Entry{Name: e.Name(), Err: err})
			continue
		}
		list = append(list, Entry{Name: e.Name(), Stage: m.Stage, Step: m.Step})
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := list[i], list[j]
		switch {
		case (a.Err == nil) != (b.Err == nil):
			return a.Err == nil
		case a.Stage != b.Stage:
			return a.Stage > b.Stage
		case a.Step != b.Step:
			return a.Step > b.Step
		}
		return a.Name > b.Name
	})
	return list, nil
}

// Latest opens the latest checkpoint under root that is whole. skipped says, for
// each that had to be passed over, what is wrong with it: tell the user. The
// error is NotFound if there is none at all, and Corrupt if all are bad.
func Latest(root string) (d *Dir, skipped []error, err error) {
	list, err := List(root)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range list {
		if e.Err != nil {
			skipped = append(skipped, e.Err)
		}
	}
	for _, e := range list {
		if e.Err != nil {
			continue
		}
		d, err := Open(filepath.Join(root, e.Name))
		if err == nil {
			return d, skipped, nil
		}
		skipped = append(skipped, err)
	}
	if len(skipped) > 0 {
		return nil, skipped, grouse.Errorf(grouse.Corrupt, "checkpoints in %q: none of %d is whole: %w", root, len(skipped), errors.Join(skipped...)).
			WithFix("the run starts again from its ledger if the folder is removed")
	}
	return nil, nil, grouse.Errorf(grouse.NotFound, "checkpoints: %q has none", root)
}

// Retain removes all but the keep latest checkpoints under root (0: keeps all)
// and returns the names it removed. Those named in protect stay, and so do bad
// ones: they are for a person to look at.
func Retain(root string, keep int, protect ...string) ([]string, error) {
	if keep <= 0 {
		return nil, nil
	}
	list, err := List(root)
	if err != nil {
		return nil, err
	}
	safe := map[string]bool{}
	for _, p := range protect {
		safe[p] = true
	}
	var removed []string
	for _, e := range list {
		if e.Err != nil {
			continue
		}
		if keep > 0 {
			keep--
			continue
		}
		if safe[e.Name] {
			continue
		}
		// A rename first: a crash in the middle leaves a name that sweep removes.
		gone := filepath.Join(root, oldPrefix+e.Name)
		if err := os.Rename(filepath.Join(root, e.Name), gone); err != nil {
			return removed, fmt.Errorf("remove checkpoint: %w", err)
		}
		removed = append(removed, e.Name)
		if err := os.RemoveAll(gone); err != nil {
			return removed, fmt.Errorf("remove checkpoint: %w", err)
		}
	}
	if len(removed) > 0 {
		return removed, syncDir(root)
	}
	return nil, nil
}
