package grouse

import (
	"errors"
	"fmt"
)

// Kind tells a caller what to do about an error.
type Kind string

const (
	Invalid     Kind = "invalid"     // the input is wrong: mend it, do not retry
	NotFound    Kind = "not_found"   // the named thing does not exist
	Stale       Kind = "stale"       // a newer owner or version exists: drop this work
	Unavailable Kind = "unavailable" // try again later
	Corrupt     Kind = "corrupt"     // stored bytes are not what was written: stop
	Internal    Kind = "internal"    // a broken invariant of ours
)

// Error is an error of a known Kind. Fix, if not empty, says how to mend it:
// it is printed on a line of its own.
type Error struct {
	Kind Kind
	Fix  string
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error of the kind; the format is that of fmt.Errorf.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// WithFix returns a copy of e whose Fix is the formatted text.
func (e *Error) WithFix(format string, args ...any) *Error {
	c := *e
	c.Fix = fmt.Sprintf(format, args...)
	return &c
}

// KindOf returns the Kind of the first Error in err's chain, Internal if there
// is none, and "" if err is nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// FixOf returns the Fix of the first Error in err's chain that has one.
func FixOf(err error) string {
	var e *Error
	for errors.As(err, &e) {
		if e.Fix != "" {
			return e.Fix
		}
		err = e.Err
	}
	return ""
}
