// Package durable writes files that are whole or absent, whatever dies when.
package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/grouse-rl/grouse"
)

// WriteFile replaces path with data: a temporary file, synced, renamed, its
// folder synced. Folders are made. The error is Unavailable.
func WriteFile(path string, data []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Write is WriteFile for contents that are produced on the way.
func Write(path string, fill func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	defer func() {
		if err == nil {
			return
		}
		e := grouse.Errorf(grouse.Unavailable, "write %s: %w", path, err)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			e = e.WithFix("free space on that disk, then resume")
		}
		err = e
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone if it was renamed
	if err := errors.Join(fill(f), f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes a folder's entries durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
