// Package fuel gives a WebAssembly module a budget of instructions that does not
// depend on the machine's speed. The engine (wazero) has none, so the module is
// rewritten before it is compiled: every basic block first takes the number of its
// instructions from a global and traps when that falls below zero.
//
// What counts is what wasmtime's fuel counts, which the tests compare with: one for
// entering a function; one for every instruction but nop, drop, block, loop, else, end,
// return and unreachable; and one more for every byte, element or page that a bulk
// instruction, table.grow or memory.grow is asked for. A block is charged when it is
// entered, so one that traps or exits in its middle is charged whole.
//
// Meter is a pure function. It reads WebAssembly 2.0 (SIMD, bulk memory, reference
// types, multi-value); threads, tail calls, exceptions and typed function references
// are refused by name. It checks every count against the bytes that are there, and
// bounds locals and tables, before an engine allocates by them.
package fuel

import (
	"fmt"
	"math"
)

// Names that the metered module exports, beside its own.
const (
	Global = "grouse.fuel"  // mutable i64: what is left; below zero: it ran out
	Start  = "grouse.start" // the module's start function, if it has one: to be called first
)

// Bounds of what a module may declare.
const (
	maxLocals   = 50_000  // of a function, as in web browsers
	maxTables   = 8       //
	maxElements = 1 << 20 // of a table
)

// SyntaxError says where a module is malformed or uses what is not supported.
type SyntaxError struct {
	Offset int // in the module, bytes
	What   string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.What) }

// Meter returns the module with a budget of fuel, which starts anew with each
// instance. All sections are kept, but: the start section becomes the export Start, so
// that no code runs before the caller has the instance in hand; a name section that
// cannot be read is left out; tables have a maximum.
//
// The error is a *SyntaxError. A module that Meter accepts may still be invalid: types
// are the engine's to check.
func Meter(module []byte, budget int64) ([]byte, error) {
	if budget < 0 || budget > math.MaxInt64/2 {
		return nil, &SyntaxError{What: fmt.Sprintf("a budget of %d", budget)}
	}
	r := &reader{data: module, end: len(module)}
	m := readModule(r)
	if r.err != nil {
		return nil, r.err
	}
	return m.metered(budget)
}
