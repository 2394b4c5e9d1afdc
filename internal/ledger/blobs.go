package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
)

const blobsDir = "blobs"

// PutBlob stores data under its SHA-256, which it returns in hex. The bytes are
// durable when it returns; storing the same bytes again does nothing.
func (w *Writer) PutBlob(ctx context.Context, data []byte) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	if _, err := ReadBlob(w.dir, name); err == nil {
		return name, nil
	}
	dir := filepath.Join(w.dir, blobsDir)
	if err := writeDurably(dir, name+".arrow", data); err != nil {
		return "", storage(fmt.Errorf("store blob: %w", err))
	}
	return name, nil
}

// Blob returns the bytes of that SHA-256. NotFound if they were never stored,
// Corrupt if what lies there is something else.
func (w *Writer) Blob(ctx context.Context, sha256Hex string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return ReadBlob(w.dir, sha256Hex)
}

// ReadBlob is Writer.Blob for the run in dir, without a writer.
func ReadBlob(dir, sha256Hex string) ([]byte, error) {
	if sum, err := hex.DecodeString(sha256Hex); err != nil || len(sum) != sha256.Size {
		return nil, grouse.Errorf(grouse.Invalid, "blob name %q is not a SHA-256", sha256Hex)
	}
	path := filepath.Join(dir, blobsDir, sha256Hex+".arrow")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, grouse.Errorf(grouse.NotFound, "blob %s is not in %s", sha256Hex, filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("read blob: %w", err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != sha256Hex {
		return nil, grouse.Errorf(grouse.Corrupt, "blob %s: its %d bytes have another SHA-256, %x", path, len(data), sum).
			WithFix("restore the file from a copy of the run's folder")
	}
	return data, nil
}

// writeDurably makes dir/name hold data: a temporary file, synced, renamed.
func writeDurably(dir, name string, data []byte) error {
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}
