package code

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

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

// function are the two sandboxes of a function test.
type function struct {
	program, tests sandbox.Sandbox
}

// judge runs the tests in one process and the program in another, and carries what
// they say to each other. The verdict is the tests' process's, which the program
// reaches with data only. An error means that there is no verdict: no sandbox, or
// tests that cannot be run whatever the program.
func (f *function) judge(ctx context.Context, program, setup string, texts []string, entry string, every bool) (Verdict, error) {
	v := Verdict{Total: len(texts)}
	p, err := f.program.Start(ctx, nil)
	if err != nil {
		return v, err
	}
	t, err := f.tests.Start(ctx, nil)
	if err != nil {
		p.Kill(sandbox.Cancelled)
		p.Wait()
		return v, err
	}
	result, talkErr := talk(p, t, program, setup, texts, entry, every)
	// Whatever was said, both end here. A side that is still there did not end by itself.
	if talkErr != errProgramGone {
		p.Kill(sandbox.Cancelled)
	}
	programEnd, programErr := p.Wait()
	if talkErr != errTestsGone {
		t.Kill(sandbox.Cancelled)
	}
	testsEnd, testsErr := t.Wait()
	if err := errors.Join(ctx.Err(), programErr, testsErr); err != nil {
		return v, err
	}
	var broken *brokenTests
	switch {
	case talkErr == nil:
		v.Passed, v.Why = result.Passed, result.Why
		return v, nil
	case errors.As(talkErr, &broken):
		return v, rewards.Fail(grouse.Errorf(grouse.Invalid, "the tests cannot be run: %s", broken.text).WithFix("mend the row's tests, or give what they need in the column setup"))
	case talkErr == errProgramGone:
		v.Why = how(programEnd)
	case talkErr == errTestsGone:
		v.Why = "the tests' process ended: " + how(testsEnd)
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

// talk carries frames between the two processes until the tests have a result.
func talk(p, t *sandbox.Process, program, setup string, texts []string, entry string, every bool) (Verdict, error) {
	var out Verdict
	if err := writeFrame(t.Stdin, append([]byte{'J'}, appendValue(nil, []any{setup, texts, entry, every})...)); err != nil {
		return out, errTestsGone
	}
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
		frame, err := readFrame(t.Stdout)
		if err != nil {
			return out, errTestsGone
		}
		v, err := parseFrame(frame, fromTests)
		if err != nil {
			return out, errTestsGone
		}
		switch frame[0] {
		case 'K':
			text, _ := v.(string)
			return out, &brokenTests{text}
		case 'R':
			return verdict(v, len(texts))
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
