package fuel

// metered writes the module with its budget.
func (m *module) metered(budget int64) ([]byte, error) {
	code := appendU32(nil, uint32(len(m.bodies)))
	for i, r := range m.bodies {
		body, err := m.function(r, m.params[m.functions[i]])
		if err != nil {
			return nil, err
		}
		code = append(appendU32(code, uint32(len(body))), body...)
	}
	global := append([]byte{0x7e, 1, opI64Const}, append(appendS64(nil, budget), opEnd)...) // mutable i64
	export := appendU32(append(appendName(nil, Global), 3), m.globals)
	exports := uint32(1)
	if m.start >= 0 {
		export = appendU32(append(appendName(export, Start), 0), uint32(m.start))
		exports++
	}
	out := append([]byte(nil), magic...)
	write := func(id byte, body []byte) { out = append(appendU32(append(out, id), uint32(len(body))), body...) }
	// added writes a section with more elements, or a new one with these alone, if it is
	// due before the section of a rank.
	hasGlobal, hasExport := false, false
	due := func(before int) {
		if !hasGlobal && before > rank[secGlobal] {
			write(secGlobal, append([]byte{1}, global...))
			hasGlobal = true
		}
		if !hasExport && before > rank[secExport] {
			write(secExport, append(appendU32(nil, exports), export...))
			hasExport = true
		}
	}
	for _, s := range m.sections {
		if s.id != secCustom {
			due(rank[s.id])
		}
		switch s.id {
		case secGlobal:
			write(s.id, grown(s.body, 1, global))
			hasGlobal = true
		case secExport:
			write(s.id, grown(s.body, exports, export))
			hasExport = true
		case secCode:
			write(s.id, code)
		default:
			write(s.id, s.body)
		}
	}
	due(len(rank) + 1)
	return out, nil
}

// grown returns a vector's bytes with n more elements.
func grown(vector []byte, n uint32, elements []byte) []byte {
	r := &reader{data: vector, end: len(vector)}
	count := r.u32()
	return append(append(appendU32(nil, count+n), vector[r.pos:]...), elements...)
}

// function returns a body whose basic blocks pay.
func (m *module) function(r *reader, params uint32) ([]byte, error) {
	locals, groups := uint64(params), r.count("locals")
	groupsAt := r.pos
	for range groups {
		locals += uint64(r.u32())
		r.byte()
		if r.err == nil && locals > maxLocals {
			r.failf("more than %d locals", maxLocals)
		}
	}
	declared := m.data[groupsAt:r.pos]
	b := blocks{m: m, cost: 1, scratch: uint32(locals)} // 1: the call
	for depth := 1; depth > 0 && r.err == nil; {
		at := r.pos
		op := r.byte()
		arg := r.immediates(op)
		switch op {
		case opBlock, opLoop, opIf:
			depth++
		case opEnd:
			depth--
		case opGlobalGet, opGlobalSet:
			if r.err == nil && arg >= m.globals {
				r.failf("global %d of %d", arg, m.globals)
			}
		}
		if r.err == nil {
			b.instruction(op, arg, m.data[at:r.pos])
		}
	}
	r.done("function")
	if r.err != nil {
		return nil, r.err
	}
	body := appendU32(nil, uint32(groups))
	if b.scratched {
		body = appendU32(nil, uint32(groups+1))
	}
	body = append(body, declared...)
	if b.scratched {
		body = append(body, 1, 0x7f) // one i32
	}
	return append(body, b.out...), nil
}

// blocks writes a function's instructions, each basic block behind its charge.
type blocks struct {
	m         *module
	out       []byte // the blocks that are whole
	block     []byte // the one being read
	cost      int64  // its instructions
	scratch   uint32 // the index of a local that the function does not have
	scratched bool   // but needs
}

// instruction adds one to the block and ends the block after those that others may
// follow, or that may be jumped to.
func (b *blocks) instruction(op byte, arg uint32, code []byte) {
	if op == opMemoryGrow || op == prefixMisc && bulk[arg] {
		b.operand()
	}
	b.block = append(b.block, code...)
	switch op {
	case opNop, opDrop, opBlock:
	case opLoop, opElse, opEnd, opReturn, opUnreachable:
		b.flush()
	case opIf, opBr, opBrIf, opBrTable:
		b.cost++
		b.flush()
	default:
		b.cost++
	}
}

// flush ends a block.
func (b *blocks) flush() {
	if b.cost > 0 {
		b.out = append(b.out, opGlobalGet)
		b.out = appendU32(b.out, b.m.globals)
		b.out = append(b.out, opI64Const)
		b.out = appendS64(b.out, b.cost)
		b.out = b.take(b.out)
	}
	b.out = append(b.out, b.block...)
	b.block, b.cost = b.block[:0], 0
}

// take appends: the fuel is the difference of the two topmost i64; below zero: trap.
func (b *blocks) take(dst []byte) []byte {
	dst = appendU32(append(dst, opI64Sub, opGlobalSet), b.m.globals)
	dst = appendU32(append(dst, opGlobalGet), b.m.globals)
	return append(dst, opI64Const, 0, opI64LtS, opIf, voidBlock, opUnreachable, opEnd)
}

// operand charges the topmost operand, a length.
func (b *blocks) operand() {
	b.scratched = true
	b.block = appendU32(append(b.block, opLocalTee), b.scratch)
	b.block = appendU32(append(b.block, opGlobalGet), b.m.globals)
	b.block = appendU32(append(b.block, opLocalGet), b.scratch)
	b.block = b.take(append(b.block, opI64ExtendI32U))
}
