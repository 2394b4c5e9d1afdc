package fuel

import "bytes"

// Section identifiers, and their order in a module (custom ones stand anywhere).
const (
	secCustom, secType, secImport, secFunction, secTable, secMemory, secGlobal = 0, 1, 2, 3, 4, 5, 6
	secExport, secStart, secElement, secCode, secData, secDataCount            = 7, 8, 9, 10, 11, 12
)

var rank = map[byte]int{secType: 1, secImport: 2, secFunction: 3, secTable: 4, secMemory: 5, secGlobal: 6,
	secExport: 7, secStart: 8, secElement: 9, secDataCount: 10, secCode: 11, secData: 12}

var magic = []byte("\x00asm\x01\x00\x00\x00")

// section is one section's content.
type section struct {
	id   byte
	body []byte
}

// module is what metering needs to know of a module.
type module struct {
	sections  []section // in order; the start section is left out
	params    []uint32  // by type: the number of parameters
	functions []uint32  // the types of those defined here
	imported  int       // functions
	globals   uint32    // imported and defined: the index of the fuel
	start     int64     // the start function's index; -1: none
	bodies    []*reader // the functions' code
	data      []byte    // the module's bytes
}

func readModule(r *reader) *module {
	m := &module{start: -1, data: r.data}
	if !bytes.Equal(r.bytes(len(magic)), magic) && r.err == nil {
		r.pos = 0
		r.failf("this is no WebAssembly module of version 1")
	}
	last := 0
	for r.more() {
		id := r.byte()
		size := r.count("bytes of a section")
		if id == 13 {
			r.failf("a tag section: exceptions are not supported")
		}
		if id != secCustom {
			if rank[id] == 0 || rank[id] <= last {
				r.failf("section %d is unknown or out of order", id)
			}
			last = rank[id]
		}
		s := r.sub(size)
		body := r.data[s.pos:s.end]
		keep := m.read(id, s)
		if id != secCustom {
			s.done("section")
		}
		if s.err != nil {
			r.err = s.err
			return m
		}
		if id == secTable {
			body = boundedTables(&reader{data: body, end: len(body)})
		}
		if keep {
			m.sections = append(m.sections, section{id, body})
		}
	}
	if r.err == nil && len(m.bodies) != len(m.functions) {
		r.failf("%d functions are declared, %d have code", len(m.functions), len(m.bodies))
	}
	return m
}

// read reads one section; it is kept if read returns true.
func (m *module) read(id byte, r *reader) bool {
	switch id {
	case secCustom:
		return r.name() != "name" || namesReadable(r)
	case secType:
		for range r.count("types") {
			if b := r.byte(); b != 0x60 {
				r.failf("type form %#x: only functions are supported", b)
			}
			n := r.count("parameters")
			r.bytes(n)
			m.params = append(m.params, uint32(n))
			r.bytes(r.count("results"))
		}
	case secImport:
		for range r.count("imports") {
			m.readImport(r)
		}
	case secFunction:
		for range r.count("functions") {
			t := r.u32()
			if r.err == nil && int64(t) >= int64(len(m.params)) {
				r.failf("a function of type %d of %d", t, len(m.params))
			}
			m.functions = append(m.functions, t)
		}
	case secTable:
		n := r.count("tables")
		if n > maxTables {
			r.failf("%d tables: at most %d", n, maxTables)
		}
		for range n {
			r.byte()
			if lo, _, _ := r.limits(); lo > maxElements {
				r.failf("a table of %d elements: at most %d", lo, maxElements)
			}
		}
	case secMemory:
		for range r.count("memories") {
			r.limits()
		}
	case secGlobal:
		for range r.count("globals") {
			r.bytes(2)
			r.constant()
			m.globals++
		}
	case secExport:
		for range r.count("exports") {
			name := r.name()
			kind, i := r.byte(), r.u32()
			switch {
			case name == Global || name == Start:
				r.failf("the export %q: the name is reserved", name)
			case kind == 3 && i >= m.globals:
				r.failf("the export of global %d of %d", i, m.globals)
			}
		}
	case secStart:
		m.start = int64(r.u32())
		if m.start >= int64(m.imported+len(m.functions)) {
			r.failf("start function %d of %d", m.start, m.imported+len(m.functions))
		}
		return false
	case secElement:
		for range r.count("element segments") {
			r.element()
		}
	case secDataCount:
		r.u32()
	case secCode:
		for range r.count("function bodies") {
			m.bodies = append(m.bodies, r.sub(r.count("bytes of a function")))
		}
		if r.err == nil && len(m.bodies) != len(m.functions) {
			r.failf("%d functions are declared, %d have code", len(m.functions), len(m.bodies))
		}
	case secData:
		for range r.count("data segments") {
			r.dataSegment()
		}
	}
	return true
}

func (m *module) readImport(r *reader) {
	r.name()
	r.name()
	switch kind := r.byte(); kind {
	case 0:
		r.u32()
		m.imported++
	case 1:
		r.byte()
		r.limits()
	case 2:
		r.limits()
	case 3:
		r.bytes(2)
		m.globals++
	default:
		r.failf("import of kind %d", kind)
	}
}

// limits reads a minimum and a maximum.
func (r *reader) limits() (lo, hi uint32, bounded bool) {
	switch flag := r.byte(); flag {
	case 0:
		return r.u32(), 0, false
	case 1:
		lo, hi = r.u32(), r.u32()
		return lo, hi, true
	default:
		r.failf("limits of kind %d: shared and 64-bit ones are not supported", flag)
		return 0, 0, false
	}
}

// element reads one element segment. The bits of its flag: passive or declarative,
// an explicit table or declarative, expressions in place of indices.
func (r *reader) element() {
	flag := r.u32()
	if flag > 7 {
		r.failf("element segment of kind %d", flag)
		return
	}
	passive, explicit, exprs := flag&1 != 0, flag&2 != 0, flag&4 != 0
	if !passive {
		if explicit {
			r.u32()
		}
		r.constant()
	}
	if passive || explicit {
		r.byte() // the kind or the type of its elements
	}
	for range r.count("elements") {
		if exprs {
			r.constant()
		} else {
			r.u32()
		}
	}
}

// dataSegment reads one data segment.
func (r *reader) dataSegment() {
	switch flag := r.u32(); flag {
	case 0:
		r.constant()
	case 1:
	case 2:
		r.u32()
		r.constant()
	default:
		r.failf("data segment of kind %d", flag)
	}
	r.bytes(r.count("bytes of data"))
}

// constant reads a constant expression.
func (r *reader) constant() {
	for r.err == nil {
		op := r.byte()
		switch op {
		case opEnd:
			return
		case opGlobalGet, opI32Const, opI64Const, opF32Const, opF64Const, opRefNull, opRefFunc, prefixVector:
			r.immediates(op)
		default:
			r.failf("instruction %#x in a constant expression", op)
		}
	}
}

// namesReadable reports whether a name section's counts are in order. What is wrong
// with it is no error, as the specification has it of custom sections.
func namesReadable(r *reader) bool {
	at := *r
	r.pos = r.end // whatever comes of it, the section was read
	r = &at
	association := func(s *reader) {
		for range s.count("names") {
			s.u32()
			s.name()
		}
	}
	for r.more() {
		id := r.byte()
		s := r.sub(r.count("bytes of names"))
		switch id {
		case 0:
			s.name()
		case 1:
			association(s)
		case 2:
			for range s.count("functions") {
				s.u32()
				association(s)
			}
		default:
			continue
		}
		s.done("names")
		if s.err != nil {
			return false
		}
	}
	return r.err == nil
}

// boundedTables writes the table section, which was read without error, anew with a
// maximum for every table.
func boundedTables(r *reader) []byte {
	n := r.count("tables")
	out := appendU32(nil, uint32(n))
	for range n {
		kind := r.byte()
		lo, hi, bounded := r.limits()
		if !bounded || hi > maxElements {
			hi = maxElements
		}
		out = appendU32(appendU32(append(out, kind, 1), lo), hi)
	}
	return out
}
