package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/grouse-rl/grouse"
)

// lock is the right to write a run's ledger: a flock on LOCK, which holds a
// counter of how often it was taken, the epoch.
type lock struct {
	path  string
	file  *os.File
	epoch uint64
}

const lockFormat = "epoch %020d\npid %d\nhost %s\n"

// acquire takes the lock of dir and raises the epoch. It returns Unavailable,
// naming the owner, if another process holds it.
func acquire(dir string) (*lock, error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock ledger: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for try := 0; errors.Is(err, syscall.EWOULDBLOCK) && try < 20; try++ { // Locked has it for a moment
		time.Sleep(5 * time.Millisecond)
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			_, owner, _ := readLock(f)
			return nil, grouse.Errorf(grouse.Unavailable, "the run in %s is being written by another process (%s)", dir, owner).
				WithFix("wait for it, or end that process")
		}
		return nil, fmt.Errorf("lock ledger %s: %w", path, err)
	}
	epoch, _, err := readLock(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	host, _ := os.Hostname() // for the message only
	l := &lock{path: path, file: f, epoch: epoch + 1}
	text := fmt.Sprintf(lockFormat, l.epoch, os.Getpid(), host)
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock ledger: %w", err)
	}
	if err := errors.Join(f.Truncate(int64(len(text))), f.Sync(), syncDir(dir)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock ledger: %w", err)
	}
	return l, nil
}

// readLock returns the epoch and the rest of a lock file; an empty one, of a
// process that died while making it, has epoch 0.
func readLock(f *os.File) (epoch uint64, owner string, err error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err != nil {
		return 0, "", fmt.Errorf("read lock %s: %w", f.Name(), err)
	}
	if len(data) == 0 {
		return 0, "", nil
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	if _, err := fmt.Sscanf(first, "epoch %d", &epoch); err != nil {
		return 0, "", grouse.Errorf(grouse.Corrupt, "%s does not begin with an epoch: %q", f.Name(), first).
			WithFix("write the line `epoch N` with an N above every earlier one (events.jsonl has them), then try again")
	}
	return epoch, strings.Join(strings.Fields(rest), " "), nil
}

// check returns Stale unless LOCK is still the file that was locked and holds
// the epoch that was taken.
func (l *lock) check() error {
	stale := func(what string) error {
		return grouse.Errorf(grouse.Stale, "ledger %s: %s: this writer, epoch %d, may not write any more", filepath.Dir(l.path), what, l.epoch).
			WithFix("nothing: whoever took the lock goes on with the run")
	}
	now, err := os.Stat(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return stale("LOCK was deleted")
	}
	if err != nil {
		return fmt.Errorf("check lock: %w", err)
	}
	mine, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("check lock: %w", err)
	}
	if !os.SameFile(now, mine) {
		return stale("LOCK was replaced")
	}
	epoch, _, err := readLock(l.file)
	if err != nil {
		return err
	}
	if epoch != l.epoch {
		return stale(fmt.Sprintf("the epoch is %d", epoch))
	}
	return nil
}

func (l *lock) release() error { return l.file.Close() } // closing ends the flock

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Locked reports whether a process holds the ledger of the run in dir.
func Locked(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "LOCK"))
	if err != nil {
		return false
	}
	defer f.Close() // ends the shared lock
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
