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
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Names of a checkpoint's own files.
const (
	ManifestName  = "MANIFEST.json"
	StateName     = "state.json"
	OptimizerName = "optimizer.safetensors"
	ConfigName    = "config.json"
)

// Format names the version of the folder's layout; readers refuse newer ones.
const (
	Format        = "grouse.checkpoint"
	FormatVersion = 1
)

// maxManifest bounds the manifest and the state, in bytes.
const maxManifest = 16 << 20

// State is state.json: where the run was.
type State struct {
	Stage   int             `json:"stage"`          // index of the stage
	Step    int64           `json:"step"`           // completed steps (sft: updates) of the stage
	Version int64           `json:"version"`        // the policy version that these weights are
	Chain   string          `json:"chain"`          // H_t, hex
	Trainer json.RawMessage `json:"trainer"`        // the trainer's counters
	Data    json.RawMessage `json:"data,omitempty"` // the data cursor
}

// Manifest is MANIFEST.json.
type Manifest struct {
	Format        string          `json:"format"`
	Version       int             `json:"version"`
	Stage         int             `json:"stage"`
	Step          int64           `json:"step"`
	Chain         string          `json:"chain"`
	RecipeSHA256  string          `json:"recipe_sha256"`
	Device        string          `json:"device"`         // kernel set: cpu/avx2
	Prev          string          `json:"prev"`           // SHA-256 of the manifest before, "" for the first
	WeightsSHA256 string          `json:"weights_sha256"` // of the bytes of model*.safetensors, in name order
	Files         map[string]File `json:"files"`          // every file but the manifest
}

// File is what a manifest says of one file.
type File struct {
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Name returns the name of the checkpoint of a step: step-000020.
func Name(step int64) string { return fmt.Sprintf("step-%06d", step) }

// WeightsSHA256 returns the SHA-256, hex, of the concatenated bytes of dir's
// model*.safetensors in name order: the identity of the weights.
func WeightsSHA256(dir string) (string, error) {
	names, err := weightFiles(dir)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, n := range names {
		if err := copyFile(h, filepath.Join(dir, n)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func weightFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "weights: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "model") && strings.HasSuffix(e.Name(), ".safetensors") {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, grouse.Errorf(grouse.NotFound, "weights: %q has no model*.safetensors", dir)
	}
	slices.Sort(names)
	return names, nil
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// hashFile returns what the manifest says of the file; into, if not nil, gets
// its bytes too.
func hashFile(path string, into io.Writer) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	var w io.Writer = h
	if into != nil {
		w = io.MultiWriter(h, into)
	}
	n, err := io.Copy(w, f)
	return File{hex.EncodeToString(h.Sum(nil)), n}, err
}

// readManifest reads and checks a manifest's form, and returns its own SHA-256.
func readManifest(dir string) (*Manifest, string, error) {
	path := filepath.Join(dir, ManifestName)
	raw, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(dir); errors.Is(statErr, fs.ErrNotExist) {
			return nil, "", grouse.Errorf(grouse.NotFound, "checkpoint %q does not exist", dir)
		}
		return nil, "", corrupt(dir, "%s is missing: it was not written to the end, or is not a checkpoint", ManifestName)
	}
	if err != nil {
		return nil, "", grouse.Errorf(grouse.Invalid, "read checkpoint: %w", err)
	}
	var m Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, "", corrupt(dir, "%s: %w", ManifestName, err)
	}
	if m.Format != Format {
		return nil, "", corrupt(dir, "%s: format %q, want %q", ManifestName, m.Format, Format)
	}
	if m.Version > FormatVersion {
		return nil, "", grouse.Errorf(grouse.Invalid, "checkpoint %q has format %s/%d, this program reads up to %d", dir, Format, m.Version, FormatVersion).
			WithFix("use the grouse that wrote it, or a newer one")
	}
	for name := range m.Files {
		if !plainName(name) {
			return nil, "", corrupt(dir, "%s names the file %q", ManifestName, name)
		}
	}
	sum := sha256.Sum256(raw)
	return &m, hex.EncodeToString(sum[:]), nil
}

func readSmall(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxManifest {
		return nil, fmt.Errorf("%q has %d bytes, more than %d", path, st.Size(), maxManifest)
	}
	return os.ReadFile(path)
}

// plainName reports whether name is a file directly in a folder.
func plainName(name string) bool {
	return name != "" && name == filepath.Base(name) && name != "." && name != ".." && !strings.ContainsAny(name, `/\`)
}

func corrupt(dir, format string, args ...any) error {
	return grouse.Errorf(grouse.Corrupt, "checkpoint %q: %w", dir, fmt.Errorf(format, args...)).
		WithFix("remove the folder; the run goes on from the checkpoint before it and its ledger")
}
