package devserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/grouse-rl/grouse"
)

const (
	lockFile = "SERVER.LOCK"
	infoFile = "server.json"
)

// Info says how to reach a server.
type Info struct {
	PID       int    `json:"pid"`
	Temporal  string `json:"temporal"`       // host:port of the frontend
	Namespace string `json:"namespace"`      //
	UI        string `json:"ui,omitempty"`   // http://host:port; "" without a Web UI
	NATS      string `json:"nats,omitempty"` // nats://host:port; "" without a TCP port
}

// Running returns how to reach the server that another process runs on dir,
// NotFound if there is none.
func Running(dir string) (Info, error) {
	none := grouse.Errorf(grouse.NotFound, "no grouse server runs on %s", dir).WithFix("start one with `grouse serve`")
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, none
	}
	if err != nil {
		return Info{}, fmt.Errorf("look for a server: %w", err)
	}
	defer f.Close() // and with it the lock
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return Info{}, none
	}
	data, err := os.ReadFile(filepath.Join(dir, infoFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, grouse.Errorf(grouse.Unavailable, "the grouse server on %s is starting or stopping", dir).WithFix("try again in a moment")
	}
	var info Info
	if err == nil {
		err = json.Unmarshal(data, &info)
	}
	if err != nil {
		return Info{}, fmt.Errorf("look for a server: %w", err)
	}
	return info, nil
}

// acquire makes this process the one that runs the server on dir.
func acquire(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	for attempt := 0; ; attempt++ {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if attempt == 10 || !errors.Is(err, syscall.EWOULDBLOCK) {
			owner, _ := os.ReadFile(f.Name()) // for the message
			f.Close()
			if !errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("lock %s: %w", dir, err)
			}
			return nil, grouse.Errorf(grouse.Unavailable, "%s is in use by another grouse (%s)", dir, strings.TrimSpace(string(owner))).
				WithFix("use that one, end it, or set GROUSE_HOME to another folder")
		}
		time.Sleep(30 * time.Millisecond) // Running holds it for a moment
	}
	text := fmt.Sprintf("pid %d\n", os.Getpid())
	if err := errors.Join(f.Truncate(0), writeAt(f, text)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// writeJSON makes dir/name hold v: a temporary file, synced, renamed.
func writeJSON(dir, name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}
