package devserver

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
)

// maxLog is where a log is put aside at the next start.
const maxLog = 16 << 20

// prepareLogs makes the folder and puts large logs of earlier starts aside.
func prepareLogs(dir string) error {
	logs := filepath.Join(dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"temporal.log", "nats.log"} {
		path := filepath.Join(logs, name)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() < maxLog {
			continue
		}
		if err := errors.Join(err, os.Rename(path, path+".1")); err != nil {
			return err
		}
	}
	return nil
}

// natsLog writes what NATS has to say to a file.
type natsLog struct {
	file *os.File
	log  *log.Logger
}

func openNATSLog(dir string) (*natsLog, error) {
	f, err := os.OpenFile(filepath.Join(dir, "logs", "nats.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &natsLog{file: f, log: log.New(f, "", log.LstdFlags|log.LUTC)}, nil
}

func (n *natsLog) write(level, format string, v ...any) {
	n.log.Printf("%s %s", level, fmt.Sprintf(format, v...))
}

func (n *natsLog) Noticef(format string, v ...any) { n.write("notice", format, v...) }
func (n *natsLog) Warnf(format string, v ...any)   { n.write("warn", format, v...) }
func (n *natsLog) Errorf(format string, v ...any)  { n.write("error", format, v...) }
func (n *natsLog) Fatalf(format string, v ...any)  { n.write("fatal", format, v...) }
func (n *natsLog) Debugf(string, ...any)           {}
func (n *natsLog) Tracef(string, ...any)           {}
