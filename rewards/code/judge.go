package code

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/sandbox"
)

// Verdict is what the tests say of a program.
type Verdict struct {
	Passed, Total int
	Why           string // the first failure; "" if there is none
}

// OK reports whether every test passed.
func (v Verdict) OK() bool { return v.Total > 0 && v.Passed == v.Total }

// runner runs a program on an input: a sandbox, or a service.
type runner interface {
	run(ctx context.Context, program, input []byte) (sandbox.Result, error)
}

// judgePairs runs the program once for each pair, in a sandbox of its own, and
// compares what it printed. every: go on after a failure.
func judgePairs(ctx context.Context, r runner, program string, pairs []Pair, every bool) (Verdict, error) {
	v := Verdict{Total: len(pairs)}
	for i, p := range pairs {
		result, err := r.run(ctx, []byte(program), []byte(p.Input))
		if err != nil {
			return v, err
		}
		why := ""
		if !result.OK() {
			why = how(result)
		} else if line := differsAt(result.Stdout, []byte(p.Output)); line > 0 {
			why = fmt.Sprintf("line %d of the output differs", line)
		}
		if why == "" {
			v.Passed++
			continue
		}
		if v.Why == "" {
			v.Why = fmt.Sprintf("test %d: %s", i+1, why)
		}
		if !every {
			break
		}
	}
	return v, nil
}

// function judges function tests: by a sandbox for programs, one for each, and one
// that tests' processes live in.
type function struct {
	program sandbox.Sandbox
	tests   *testers
	patient time.Duration // for a verdict: the program's own limit comes first
}

// judge runs the tests in one process and the program in another, and carries what
// they say to each other. The verdict is the tests' process's, which the program
// reaches with data only. An error means that there is no verdict: no sandbox, or
// tests that cannot be run whatever the program.
func (f *function) judge(ctx context.Context, program, setup string, texts []string, entry string, every bool) (Verdict, error) {
	v := Verdict{Total: len(texts)}
	job := append([]byte{'J'}, appendValue(nil, []any{setup, texts, entry, every})...)
	if len(job) > maxFrame {
		return v, rewards.Fail(grouse.Errorf(grouse.Invalid, "the tests have %d bytes", len(job)).WithFix("tests are at most %d bytes", maxFrame))
	}
	p, err := f.program.Start(ctx, nil)
	if err != nil {
		return v, err
	}
	t, err := f.tests.take(job)
	if err != nil {
		p.Kill(sandbox.Cancelled)
		p.Wait()
		return v, err
	}
	var late atomic.Bool
	timer := time.AfterFunc(f.patient, func() {
		late.Store(true)
		t.Kill(sandbox.TimedOut)
	})
	stop := context.AfterFunc(ctx, func() { t.Kill(sandbox.Cancelled) })
	result, talkErr := talk(p, t, program, len(texts))
	timer.Stop()
	stop()
	// Whatever was said, the program ends here. One that is still there did not end
	// by itself.
	if talkErr != errProgramGone {
		p.Kill(sandbox.Cancelled)
	}
	ended, programErr := p.Wait()
	f.tests.put(t)
	if err := errors.Join(ctx.Err(), programErr); err != nil {
		return v, err
	}
	var broken *brokenTests
	switch {
	case talkErr == nil:
		v.Passed, v.Why = result.Passed, result.Why
	case errors.As(talkErr, &broken):
		return v, rewards.Fail(grouse.Errorf(grouse.Invalid, "the tests cannot be run: %s", broken.text).WithFix("mend the row's tests, or give what they need in the column setup"))
	case talkErr == errProgramGone:
		v.Why = how(ended)
	case late.Load():
		v.Why = "timeout in the tests"
	default:
		v.Why = talkErr.Error()
	}
	return v, nil
}

// Ends of a talk without a result.
var (
	errProgramGone = errors.New("the program's process ended")
	errTestsGone   = errors.New("the tests' process ended")
)

type brokenTests struct{ text string }

func (b *brokenTests) Error() string { return b.text }

// programFailed is a program that could not be loaded, or that broke the protocol.
type programFailed struct{ text string }

func (e *programFailed) Error() string { return e.text }

// talk carries frames between the two processes until the tests, total of them, have
// a result. The tests' process has its job.
func talk(p *sandbox.Process, t *tester, program string, total int) (Verdict, error) {
	var out Verdict
	if err := writeFrame(p.Stdin, append([]byte{'P'}, appendValue(nil, program)...)); err != nil {
		return out, errProgramGone
	}
	loaded, err := fromTheProgram(p)
	if err != nil {
		return out, err
	}
	if loaded[0] == 'E' {
		return out, &programFailed{"the program cannot be loaded: " + exception(loaded)}
	}
	for {
		frame, v, err := t.read()
		if err != nil {
			return out, errTestsGone
		}
		switch frame[0] {
		case 'K':
			text, _ := v.(string)
			return out, &brokenTests{text}
		case 'D':
			text, _ := v.(string)
			return out, &programFailed{"the tests' process ended: " + text}
		case 'R':
			return verdict(v, total)
		}
		if err := writeFrame(p.Stdin, frame); err != nil {
			return out, errProgramGone
		}
		answer, err := fromTheProgram(p)
		if err != nil {
			return out, err
		}
		if err := writeFrame(t.Stdin, answer); err != nil {
			return out, errTestsGone
		}
	}
}

// fromTheProgram reads a frame and checks it.
func fromTheProgram(p *sandbox.Process) ([]byte, error) {
	frame, err := readFrame(p.Stdout)
	if err == nil {
		err = checkFrame(frame, fromProgram)
	}
	switch {
	case errors.Is(err, errWire):
		return nil, &programFailed{"the program's process: " + err.Error()}
	case err != nil:
		return nil, errProgramGone
	}
	return frame, nil
}

// verdict reads the tests' result: which of them passed, and the first failure.
func verdict(v any, total int) (Verdict, error) {
	out := Verdict{Total: total}
	list, ok := v.([]any)
	if !ok || len(list) != 2 {
		return out, errTestsGone
	}
	passed, ok1 := list[0].([]any)
	why, ok2 := list[1].(string)
	if list[0] != nil && !ok1 || !ok2 || len(passed) > total {
		return out, errTestsGone
	}
	for _, b := range passed {
		if b == true {
			out.Passed++
		}
	}
	out.Why = why
	return out, nil
}

// exception reads a frame of kind E.
func exception(frame []byte) string {
	v, _ := parseFrame(frame, "E")
	list, _ := v.([]any)
	if len(list) != 2 {
		return "an exception"
	}
	name, _ := list[0].(string)
	text, _ := list[1].(string)
	return strings.TrimSuffix(shorten(name+": "+text), ": ")
}

// how says how a program ended.
func how(r sandbox.Result) string {
	switch r.End {
	case sandbox.Exited:
		s := fmt.Sprintf("exit status %d", r.Code)
		if words := lastLine(r.Stderr); words != "" && r.Code != 0 {
			s += ": " + words
		}
		return s
	case sandbox.Signaled:
		return fmt.Sprintf("signal %d", r.Code)
	case sandbox.TimedOut:
		return "timeout"
	case sandbox.OutOfMemory:
		return "out of memory"
	case sandbox.TooManyTasks:
		return "too many processes"
	case sandbox.TooMuchSaid:
		return "too much output"
	}
	return string(r.End)
}

func lastLine(b []byte) string {
	s := strings.TrimSpace(string(b))
	return shorten(s[strings.LastIndexByte(s, '\n')+1:])
}

// shorten bounds what a program says in an explanation, and makes it printable.
func shorten(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x202a || r == 0x202b || r == 0x202d || r == 0x202e {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// scripted is a sandbox of stdio.py, which reads the program before its input.
type scripted struct{ sandbox sandbox.Sandbox }

func (s scripted) run(ctx context.Context, program, input []byte) (sandbox.Result, error) {
	stdin := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(program)+len(input)), uint32(len(program)))
	return sandbox.Run(ctx, s.sandbox, nil, append(append(stdin, program...), input...))
}

// filed is a sandbox of a command that finds the program in its file.
type filed struct{ sandbox sandbox.Sandbox }

func (f filed) run(ctx context.Context, program, input []byte) (sandbox.Result, error) {
	return sandbox.Run(ctx, f.sandbox, program, input)
}
