package fuel

// Opcodes that metering tells apart.
const (
	opUnreachable, opNop, opBlock, opLoop, opIf, opElse, opEnd        = 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0b
	opBr, opBrIf, opBrTable, opReturn, opCall, opCallIndirect, opDrop = 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x1a
	opSelect, opSelectTyped                                           = 0x1b, 0x1c
	opLocalGet, opLocalSet, opLocalTee, opGlobalGet, opGlobalSet      = 0x20, 0x21, 0x22, 0x23, 0x24
	opTableGet, opTableSet                                            = 0x25, 0x26
	opFirstLoad, opLastStore, opMemorySize, opMemoryGrow              = 0x28, 0x3e, 0x3f, 0x40
	opI32Const, opI64Const, opF32Const, opF64Const                    = 0x41, 0x42, 0x43, 0x44
	opI64LtS, opI64Sub, opI64ExtendI32U                               = 0x53, 0x7d, 0xad
	opLastNumeric, opRefNull, opRefIsNull, opRefFunc                  = 0xc4, 0xd0, 0xd1, 0xd2
	prefixMisc, prefixVector, prefixAtomic                            = 0xfc, 0xfd, 0xfe
	voidBlock                                                         = 0x40
)

// What follows prefixMisc.
const (
	miscLastTruncate                                             = 7
	miscMemoryInit, miscDataDrop, miscMemoryCopy, miscMemoryFill = 8, 9, 10, 11
	miscTableInit, miscElemDrop, miscTableCopy                   = 12, 13, 14
	miscTableGrow, miscTableSize, miscTableFill                  = 15, 16, 17
)

// bulk are the instructions of prefixMisc whose work is as long as their topmost operand.
var bulk = map[uint32]bool{miscMemoryInit: true, miscMemoryCopy: true, miscMemoryFill: true, miscTableInit: true, miscTableCopy: true, miscTableGrow: true, miscTableFill: true}

// named are instructions that later proposals added, refused by name.
var named = map[byte]string{0x06: "try", 0x07: "catch", 0x08: "throw", 0x09: "rethrow", 0x0a: "throw_ref", 0x12: "return_call", 0x13: "return_call_indirect",
	0x14: "call_ref", 0x15: "return_call_ref", 0x18: "delegate", 0x19: "catch_all", 0x1f: "try_table", 0xd3: "ref.eq", 0xd4: "ref.as_non_null", 0xd5: "br_on_null",
	0xd6: "br_on_non_null", 0xfb: "a garbage-collection instruction", prefixAtomic: "an atomic instruction"}

// immediates reads over what follows an opcode. For prefixMisc it returns the opcode
// behind the prefix, for the global instructions the global's index.
func (r *reader) immediates(op byte) uint32 {
	switch {
	case op == opBlock, op == opLoop, op == opIf:
		r.skipSigned(33)
	case op == opBr, op == opBrIf, op == opCall, op >= opLocalGet && op <= opLocalTee, op == opTableGet, op == opTableSet, op == opRefFunc:
		r.u32()
	case op == opGlobalGet, op == opGlobalSet:
		return r.u32()
	case op == opBrTable:
		for range r.count("labels") {
			r.u32()
		}
		r.u32()
	case op == opCallIndirect:
		r.u32()
		r.u32()
	case op == opSelectTyped:
		if n := r.byte(); n != 1 {
			r.failf("select of %d types", n)
		}
		r.byte()
	case op >= opFirstLoad && op <= opLastStore:
		r.u32()
		r.u32()
	case op == opMemorySize, op == opMemoryGrow:
		if r.byte() != 0 {
			r.failf("a second memory: not supported")
		}
	case op == opI32Const:
		r.skipSigned(32)
	case op == opI64Const:
		r.skipSigned(64)
	case op == opF32Const:
		r.bytes(4)
	case op == opF64Const:
		r.bytes(8)
	case op == opRefNull:
		r.byte()
	case op == prefixMisc:
		return r.misc()
	case op == prefixVector:
		r.vector()
	case op <= opNop, op == opElse, op == opEnd, op == opReturn, op == opDrop, op == opSelect, op > opI64Const && op <= opLastNumeric, op == opRefIsNull:
	default:
		what := named[op]
		if what == "" {
			what = "unknown"
		}
		r.pos--
		r.failf("instruction %#x (%s) is not supported", op, what)
	}
	return 0
}

// misc reads what follows prefixMisc and returns the opcode.
func (r *reader) misc() uint32 {
	op := r.u32()
	switch op {
	case miscDataDrop, miscElemDrop, miscTableGrow, miscTableSize, miscTableFill, miscMemoryFill:
		r.u32()
	case miscMemoryInit, miscMemoryCopy, miscTableInit, miscTableCopy:
		r.u32()
		r.u32()
	default:
		if op > miscLastTruncate {
			r.failf("instruction 0xfc %d is not supported", op)
		}
	}
	return op
}

// vector reads what follows prefixVector. Opcodes from 128 have a second byte, 1; longer
// forms are refused, because engines read them differently.
func (r *reader) vector() {
	op := r.byte()
	switch {
	case op >= 0x80:
		if r.byte() != 1 {
			r.failf("vector instruction %d in a form that is not supported, or relaxed", op)
		}
	case op <= 11, op == 92, op == 93: // loads and stores
		r.u32()
		r.u32()
	case op == 12, op == 13: // a constant, a shuffle
		r.bytes(16)
	case op >= 21 && op <= 34: // a lane
		r.byte()
	case op >= 84 && op <= 91: // a lane of memory
		r.u32()
		r.u32()
		r.byte()
	}
}
