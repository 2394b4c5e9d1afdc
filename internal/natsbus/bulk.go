package natsbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/grouse-rl/grouse"
)

const chunkBytes = 1 << 20 // of the object store; 8 MiB chunks fail

// bulkName names a large payload: by step, to be dropped with it, and content.
func bulkName(p parts, ref grouse.BatchRef) string { return p.step + "." + ref.SHA256 + ".arrow" }

func bucket(run string) string { return "grouse-" + run }

// putBulk stores a payload that is too large for a message and says where.
func (b *Bus) putBulk(ctx context.Context, p parts, ref grouse.BatchRef, payload []byte) (where string, err error) {
	name := bulkName(p, ref)
	if b.opts.SharedDir != "" {
		if err := writeFile(filepath.Join(b.opts.SharedDir, p.run), name, payload); err != nil {
			return "", grouse.Errorf(grouse.Unavailable, "publish %s: %w", ref.Key, err).WithFix("check that the shared folder %s can be written and has space", b.opts.SharedDir)
		}
		return whereFile, nil
	}
	store, err := b.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket: bucket(p.run), Description: "large batches of a grouse run", TTL: orDefault(b.opts.MaxAge, defaultMaxAge),
		MaxBytes: orDefault(b.opts.MaxBytes, defaultMaxBytes), Storage: jetstream.FileStorage, Replicas: orDefault(b.opts.Replicas, 1),
	})
	if err == nil {
		meta := jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkBytes}}
		_, err = store.Put(ctx, meta, bytes.NewReader(payload))
	}
	if err != nil {
		return "", unavailable("publish "+ref.Key, err)
	}
	return whereObject, nil
}

func (b *Bus) getBulk(ctx context.Context, p parts, ref grouse.BatchRef, where string) ([]byte, error) {
	name := bulkName(p, ref)
	gone := grouse.Errorf(grouse.NotFound, "batch %s is not in its %s store", ref.Key, where).WithFix("nothing: the batch is made again")
	switch where {
	case whereFile:
		if b.opts.SharedDir == "" {
			return nil, grouse.Errorf(grouse.Invalid, "batch %s lies in a shared folder that this process was not told", ref.Key).
				WithFix("start every worker of the run with the same --shared-dir, or all without")
		}
		data, err := os.ReadFile(filepath.Join(b.opts.SharedDir, p.run, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, gone
		}
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w", ref.Key, err)
		}
		return data, nil
	case whereObject:
		store, err := b.js.ObjectStore(ctx, bucket(p.run))
		if err == nil {
			var obj jetstream.ObjectResult
			if obj, err = store.Get(ctx, name); err == nil {
				defer obj.Close()
				var data []byte
				if data, err = io.ReadAll(io.LimitReader(obj, ref.Bytes+1)); err == nil {
					return data, nil
				}
			}
		}
		if errors.Is(err, jetstream.ErrObjectNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrDigestMismatch) {
			return nil, gone
		}
		return nil, unavailable("fetch "+ref.Key, err)
	}
	return nil, grouse.Errorf(grouse.Invalid, "batch %s lies in %q, which this grouse does not know", ref.Key, where).WithFix("use the same version of grouse for every worker")
}

func (b *Bus) removeBulk(ctx context.Context, p parts, ref grouse.BatchRef, where string) {
	switch where {
	case whereFile:
		_ = os.Remove(filepath.Join(b.opts.SharedDir, p.run, bulkName(p, ref))) // it is written over when published again
	case whereObject:
		if store, err := b.js.ObjectStore(ctx, bucket(p.run)); err == nil {
			_ = store.Delete(ctx, bulkName(p, ref)) // as above
		}
	}
}

// purgeBulk drops the large payloads of p.run and p.step.
func (b *Bus) purgeBulk(ctx context.Context, p parts) error {
	if b.opts.SharedDir != "" {
		files, err := filepath.Glob(filepath.Join(b.opts.SharedDir, p.run, p.step+".*"))
		for _, f := range files {
			if rmErr := os.Remove(f); !errors.Is(rmErr, fs.ErrNotExist) {
				err = errors.Join(err, rmErr)
			}
		}
		return err
	}
	store, err := b.js.ObjectStore(ctx, bucket(p.run))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	}
	if err != nil {
		return unavailable("purge "+p.run, err)
	}
	list, err := store.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil
	}
	for _, obj := range list {
		if strings.HasPrefix(obj.Name, p.step+".") {
			err = errors.Join(err, store.Delete(ctx, obj.Name))
		}
	}
	if err != nil {
		return unavailable("purge "+p.run, err)
	}
	return nil
}

func (b *Bus) deleteBulk(ctx context.Context, run string) error {
	if b.opts.SharedDir != "" {
		return os.RemoveAll(filepath.Join(b.opts.SharedDir, run))
	}
	if err := b.js.DeleteObjectStore(ctx, bucket(run)); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return unavailable("delete the objects of "+run, err)
	}
	return nil
}

// writeFile makes dir/name hold data: a temporary file, synced, renamed.
func writeFile(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}
