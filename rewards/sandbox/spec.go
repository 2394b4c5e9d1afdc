package sandbox

import (
	"path/filepath"
	"time"

	"github.com/grouse-rl/grouse"
)

// Limits bound one program. A field of 0 is the default.
type Limits struct {
	Time         time.Duration // wall time of the whole tree; 5 s
	Memory       int64         // bytes of the whole tree, where the machine can count them (Level says); 512 MiB
	AddressSpace int64         // bytes of address space of each process; 0: as much as Memory, negative: no limit
	Processes    int           // processes and threads at one time; 64
	Disk         int64         // bytes of /tmp, and of any file; 64 MiB. They count as memory
	Files        int           // files in /tmp; 4096
	OpenFiles    int           // descriptors of a process; 256
	Output       int           // bytes kept of stdout; more ends the program; 10 MiB
}

// withDefaults fills what is 0.
func (l Limits) withDefaults() Limits {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	count := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if l.Time == 0 {
		l.Time = 5 * time.Second
	}
	set(&l.Memory, 512<<20)
	set(&l.AddressSpace, l.Memory)
	set(&l.Disk, 64<<20)
	count(&l.Processes, 64)
	count(&l.Files, 4096)
	count(&l.OpenFiles, 256)
	count(&l.Output, 10<<20)
	return l
}

func (l Limits) validate() error {
	if l.Time < time.Millisecond || l.Memory < 1<<20 || l.Processes < 1 || l.Disk < 1<<12 || l.Files < 1 || l.OpenFiles < 3 || l.Output < 1 {
		return grouse.Errorf(grouse.Invalid, "sandbox limits %+v", l).
			WithFix("a program needs at least 1 ms, 1 MiB of memory, 1 process, 4 KiB of disk, 1 file, 3 descriptors and 1 byte of output")
	}
	return nil
}

// MaxFile bounds Command.File: the text of a program.
const MaxFile = 1 << 20

// keptStderr is how much is kept of the end of stderr.
const keptStderr = 4 << 10

// Spec says what a sandbox's programs are. It is the same for all of them, so that
// everything but the program itself is prepared once.
type Spec struct {
	Args     []string // the program, by its absolute path inside, and its arguments
	Env      []string // all of its environment; nothing is inherited
	ReadOnly []string // absolute paths of files and folders that it sees, as they are now
	File     string   // name of a file in /tmp, its working directory, that each run brings; "": none
	Limits   Limits
}

func (s *Spec) validate() error {
	s.Limits = s.Limits.withDefaults()
	if err := s.Limits.validate(); err != nil {
		return err
	}
	if len(s.Args) == 0 || !filepath.IsAbs(s.Args[0]) {
		return grouse.Errorf(grouse.Invalid, "the sandbox's program is %q", s.Args).WithFix("give its absolute path")
	}
	if s.File != "" && (filepath.Base(s.File) != s.File || s.File == "." || s.File == "..") {
		return grouse.Errorf(grouse.Invalid, "the sandbox's file is %q", s.File).WithFix("give a name without a folder")
	}
	for _, path := range s.ReadOnly {
		if path = filepath.Clean(path); !filepath.IsAbs(path) || path == "/" || within(path, "/proc") || within(path, "/tmp") || within(path, "/dev") {
			return grouse.Errorf(grouse.Invalid, "the sandbox cannot show %q", path).WithFix("give absolute paths outside /proc, /dev and /tmp")
		}
	}
	return nil
}

// within reports whether a clean path is dir or below it.
func within(path, dir string) bool {
	return path == dir || len(path) > len(dir) && path[:len(dir)] == dir && path[len(dir)] == '/'
}

// End is how a program ended.
type End string

const (
	Exited       End = "exit"         // by itself; Result.Code
	Signaled     End = "signal"       // by a signal; Result.Code is its number
	TimedOut     End = "timeout"      // killed at Limits.Time
	OutOfMemory  End = "oom"          // killed at Limits.Memory, or it said that it got none
	TooManyTasks End = "processes"    // ended by itself or a signal after Limits.Processes refused it a process
	TooMuchSaid  End = "output_limit" // killed at Limits.Output
	Cancelled    End = "cancelled"    // killed because the caller stopped it
)

// Result is what became of a program.
type Result struct {
	End    End
	Code   int    // exit status or signal number
	Stdout []byte // if it was collected
	Stderr []byte // its end
	Memory int64  // bytes: the largest resident size of a process
	CPU    time.Duration
}

// OK reports whether the program ended by itself with status 0.
func (r *Result) OK() bool { return r.End == Exited && r.Code == 0 }

// insideID is the user and group of the program, as it sees itself.
const insideID = 1000

// inits is how many processes of ours count against a sandbox's limit: the
// supervisor and init, which belong to its user namespace.
const inits = 2
