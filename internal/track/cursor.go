package track

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/durable"
)

// cursor says how far a tracker came. It is replaced after every delivery.
type cursor struct {
	Rows  int64           `json:"rows"`            // points that were reported
	State json.RawMessage `json:"state,omitempty"` // the tracker's own
}

// loadCursor reads a cursor; one that is not there, or damaged, is at the
// beginning. No path: nothing is kept.
func loadCursor(path string) (cursor, error) {
	var c cursor
	if path == "" {
		return c, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, grouse.Errorf(grouse.Unavailable, "tracker: %w", err)
	}
	if json.Unmarshal(raw, &c) != nil || c.Rows < 0 {
		return cursor{}, nil
	}
	return c, nil
}

func (c cursor) save(path string) error {
	if path == "" {
		return nil
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(raw, '\n'))
}

// state decodes what the tracker kept; false if it kept nothing that v can take.
func (c cursor) state(v any) bool { return len(c.State) > 0 && json.Unmarshal(c.State, v) == nil }

// runID returns what tells the run from others of its name on a server: the name
// and 8 random hex digits that are kept in dir.
func runID(dir, name string) (string, error) {
	path := filepath.Join(dir, "id")
	raw, err := os.ReadFile(path)
	if err == nil && len(raw) > 0 {
		return strings.TrimSpace(string(raw)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", grouse.Errorf(grouse.Unavailable, "tracker: %w", err)
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	id := name + "-" + hex.EncodeToString(b[:])
	return id, durable.WriteFile(path, []byte(id+"\n"))
}
