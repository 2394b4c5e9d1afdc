package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/worker"
)

// follow tells every whole line of a file of a run, those to come included, until
// the run is done or ctx ends. A file that is not there yet is waited for.
func follow(ctx context.Context, dir, file string, line func([]byte) error) error {
	finished := func() bool {
		_, err := os.Stat(filepath.Join(dir, worker.DoneFile))
		return err == nil
	}
	var br *bufio.Reader
	var part []byte
	for {
		last := finished() // before what is read: nothing comes after it
		if br == nil {
			f, err := os.Open(filepath.Join(dir, file))
			if err == nil {
				defer f.Close()
				br = bufio.NewReader(f)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return grouse.Errorf(grouse.Unavailable, "follow: %w", err)
			}
		}
		for br != nil {
			got, err := br.ReadBytes('\n')
			part = append(part, got...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return grouse.Errorf(grouse.Unavailable, "follow: %w", err)
			}
			if err := line(part); err != nil {
				return err
			}
			part = part[:0]
		}
		if last {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
