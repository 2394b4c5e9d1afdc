package math

import "math/big"

// op is the kind of an expression.
type op uint8

const (
	opNum op = iota // num
	opVar           // name: a variable; "\pi", "e", "i" and "\infty" are names too
	opAdd           // args
	opMul           // args
	opDiv           // args[0] / args[1]
	opPow           // args[0] ^ args[1]
	opNeg           // -args[0]
	opFn            // name(args...): sin, log (base args[1]), sqrt, root (index args[1]), abs, floor, ceil, factorial, binom
)

// expr is an expression. Numbers keep how many decimals they were written with, so
// that a rounded answer can be told from an exact one.
type expr struct {
	op       op
	num      *big.Rat
	decimals int // of a decimal literal; 0: none
	name     string
	args     []*expr

	tried bool     // of opFn: exact was looked for
	exact *big.Rat // nil: there is none
}

func number(r *big.Rat) *expr            { return &expr{op: opNum, num: r} }
func variable(name string) *expr         { return &expr{op: opVar, name: name} }
func node(o op, args ...*expr) *expr     { return &expr{op: o, args: args} }
func call(f string, args ...*expr) *expr { return &expr{op: opFn, name: f, args: args} }

// Names with a meaning of their own.
const (
	pi        = `\pi`
	euler     = "e"
	imaginary = "i"
	infinity  = `\infty`
	emptySet  = `\emptyset`
)
