package rubric

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Memo keeps a judge's replies by the hash of all that they depend on. Implementations
// must be safe for concurrent use.
type Memo interface {
	Get(key string) (reply string, ok bool, err error)
	Put(key, reply string) error
}

// memory is a Memo for the life of the process.
type memory struct {
	mu sync.Mutex
	m  map[string]string
}

// NewMemory returns a Memo in memory.
func NewMemory() Memo { return &memory{m: map[string]string{}} }

func (m *memory) Get(key string) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.m[key]
	return v, ok, nil
}

func (m *memory) Put(key, reply string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.m[key] = reply
	return nil
}

// folder is a Memo of one file a reply, which outlives the process.
type folder string

// NewFolder returns a Memo in a folder, which is made if it does not exist. A reply is
// written whole or not at all.
func NewFolder(path string) (Memo, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	return folder(path), nil
}

func (f folder) Get(key string) (string, bool, error) {
	data, err := os.ReadFile(filepath.Join(string(f), key))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return string(data), err == nil, err
}

func (f folder) Put(key, reply string) error {
	tmp, err := os.CreateTemp(string(f), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(reply)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(string(f), key))
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}
