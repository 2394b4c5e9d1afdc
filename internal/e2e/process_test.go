package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
)

// binary is the grouse that all tests start.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "grouse-e2e-")
	if err == nil {
		binary = filepath.Join(dir, "grouse")
		cmd := exec.Command("go", "build", "-o", binary, "../../cmd/grouse")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		err = cmd.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build grouse:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const tiny = "testdata/tiny.yaml"

// deadline is how long any child process may take.
const deadline = 2 * time.Minute

// event is a JSON line of a run, with when it came.
type event struct {
	Event         string         `json:"event"`
	Stage         string         `json:"stage"`
	Step          int64          `json:"step"`
	Metrics       grouse.Metrics `json:"metrics"`
	Times         grouse.Metrics `json:"times"`
	WeightsSHA256 string         `json:"weights_sha256"`
	Chain         string         `json:"chain"`
	raw           string
	at            time.Time
}

// process is a grouse at work.
type process struct {
	t      *testing.T
	args   []string
	cmd    *exec.Cmd
	began  time.Time
	first  chan struct{} // closed at the first line of stdout
	ended  chan struct{}
	err    error // of Wait
	stderr output

	mu     sync.Mutex
	events []event
	lines  []string // of stdout
}

// output is what a process writes, readable while it does.
type output struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

// launch starts grouse on a home folder.
func launch(t *testing.T, home string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args, first: make(chan struct{}), ended: make(chan struct{}), began: time.Now()}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = append(append(os.Environ(), "GROUSE_HOME="+home), env...)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go p.read(out)
	t.Cleanup(func() {
		select {
		case <-p.ended:
		default:
			p.kill()
		}
	})
	return p
}

func (p *process) read(out io.Reader) {
	defer close(p.ended)
	r := bufio.NewReader(out)
	for n := 0; ; n++ {
		line, err := r.ReadString('\n')
		if strings.HasSuffix(line, "\n") {
			e := event{raw: line, at: time.Now()}
			isEvent := json.Unmarshal([]byte(line), &e) == nil
			p.mu.Lock()
			p.lines = append(p.lines, line)
			if isEvent {
				p.events = append(p.events, e)
			}
			p.mu.Unlock()
			if n == 0 {
				close(p.first)
			}
		}
		if err != nil {
			break
		}
	}
	p.err = p.cmd.Wait()
}

// awaitFirst waits for the first line of stdout.
func (p *process) awaitFirst() {
	p.t.Helper()
	select {
	case <-p.first:
	case <-p.ended:
		p.t.Fatalf("%v ended before its first line:\n%s", p.args, p.stderr.String())
	case <-time.After(deadline):
		p.t.Fatalf("%v: no line in %v", p.args, deadline)
	}
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(deadline):
		p.kill()
		p.t.Fatalf("%v did not end in %v; it said\n%s\n%s", p.args, deadline, strings.Join(p.lines, ""), p.stderr.String())
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return exit.ExitCode()
	}
	if p.err != nil {
		p.t.Fatalf("%v: %v", p.args, p.err)
	}
	return 0
}

// seen returns the events so far.
func (p *process) seen() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]event(nil), p.events...)
}

// awaitEvent waits for an event that pick picks.
func (p *process) awaitEvent(what string, pick func(event) bool) event {
	p.t.Helper()
	for begin := time.Now(); time.Since(begin) < deadline; time.Sleep(5 * time.Millisecond) {
		for _, e := range p.seen() {
			if pick(e) {
				return e
			}
		}
		select {
		case <-p.ended:
			p.t.Fatalf("%v ended without %s:\n%s", p.args, what, p.stderr.String())
		default:
		}
	}
	p.t.Fatalf("%v: no %s in %v", p.args, what, deadline)
	return event{}
}

// finish waits for the end, which must be a done line and exit code 0.
func (p *process) finish() event {
	p.t.Helper()
	if code := p.wait(); code != 0 {
		p.t.Fatalf("%v: exit code %d:\n%s", p.args, code, p.stderr.String())
	}
	events := p.seen()
	if len(events) == 0 || events[len(events)-1].Event != "done" {
		p.t.Fatalf("%v: the last line is not done: %s", p.args, strings.Join(p.lines, ""))
	}
	return events[len(events)-1]
}

func isWork(e event) bool {
	return e.Event == "step" || e.Event == "sft" || e.Event == "eval" || e.Event == "checkpoint"
}

// firstWork is how long it took from the start of the process to the first
// thing that the run had not done before.
func (p *process) firstWork() (time.Duration, bool) {
	for _, e := range p.seen() {
		if isWork(e) {
			return e.at.Sub(p.began), true
		}
	}
	return 0, false
}

// same fails unless two finished runs have the same weights and chain.
func same(t *testing.T, what string, got, want event) {
	t.Helper()
	if got.WeightsSHA256 == "" || got.WeightsSHA256 != want.WeightsSHA256 || got.Chain != want.Chain {
		t.Errorf("%s: weights %.16s chain %.16s, undisturbed %.16s, %.16s", what, got.WeightsSHA256, got.Chain, want.WeightsSHA256, want.Chain)
	}
}
