package jinja

// maxNesting bounds nested expressions and blocks.
const maxNesting = 200

// Template is a parsed template. It may be rendered from several goroutines.
type Template struct{ body []node }

// Parse parses a template. The error names the line.
func Parse(src string) (t *Template, err error) {
	defer rescue(&err)
	p := &parser{tokens: lex(src)}
	body := p.body()
	if p.tok().kind != tokEOF {
		failf(p.tok().line, "unexpected %v", p.tok())
	}
	return &Template{body}, nil
}

type parser struct {
	tokens []token
	at     int
	depth  int
	loops  int
}

func (p *parser) tok() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokEOF {
		p.at++
	}
	return t
}

func (p *parser) isOp(op string) bool  { t := p.tok(); return t.kind == tokOp && t.text == op }
func (p *parser) isName(n string) bool { t := p.tok(); return t.kind == tokName && t.text == n }
func (p *parser) acceptOp(o string) bool {
	if p.isOp(o) {
		p.at++
		return true
	}
	return false
}

func (p *parser) acceptName(n string) bool {
	if p.isName(n) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expectOp(op string) {
	if !p.acceptOp(op) {
		failf(p.tok().line, "%q expected, found %v", op, p.tok())
	}
}

func (p *parser) expectName() string {
	t := p.next()
	if t.kind != tokName {
		failf(t.line, "a name expected, found %v", t)
	}
	return t.text
}

func (p *parser) blockEnd() {
	if t := p.next(); t.kind != tokBlockEnd {
		failf(t.line, "%%} expected, found %v", t)
	}
}

func (p *parser) deeper() func() {
	if p.depth++; p.depth > maxNesting {
		failf(p.tok().line, "nested more than %d deep", maxNesting)
	}
	return func() { p.depth-- }
}

// body parses nodes up to a block tag that is one of ends, whose name is left
// as the current token, or to the end of the template.
func (p *parser) body(ends ...string) []node {
	defer p.deeper()()
	var out []node
	for {
		t := p.next()
		switch t.kind {
		case tokEOF:
			if len(ends) > 0 {
				failf(t.line, "{%% %s %%} is missing", ends[len(ends)-1])
			}
			return out
		case tokData:
			out = append(out, textNode(t.text))
		case tokVarBegin:
			e := p.tuple()
			if end := p.next(); end.kind != tokVarEnd {
				failf(end.line, "}} expected, found %v", end)
			}
			out = append(out, &outputNode{t.line, e})
		case tokBlockBegin:
			for _, e := range ends {
				if p.isName(e) {
					return out
				}
			}
			out = append(out, p.statement())
		default:
			failf(t.line, "unexpected %v", t)
		}
	}
}

func (p *parser) statement() node {
	line := p.tok().line
	switch name := p.expectName(); name {
	case "if":
		return p.ifStatement()
	case "for":
		return p.forStatement(line)
	case "set":
		return p.setStatement(line)
	case "macro":
		return p.macroStatement(line)
	case "generation":
		p.blockEnd()
		body := p.body("endgeneration")
		p.next()
		p.blockEnd()
		return &groupNode{body}
	case "filter":
		f := &filterExpr{line: line, name: p.expectName()}
		if p.acceptOp("(") {
			f.args, f.kwargs = p.arguments()
		}
		p.blockEnd()
		body := p.body("endfilter")
		p.next()
		p.blockEnd()
		f.in = &captureExpr{body}
		return &outputNode{line, f}
	case "break", "continue":
		if p.loops == 0 {
			failf(line, "%s outside a loop", name)
		}
		p.blockEnd()
		return &loopControl{name == "break"}
	case "include", "import", "from", "extends", "block":
		failf(line, "%q is not allowed in a chat template", name)
	default:
		failf(line, "unknown statement %q", name)
	}
	return nil
}

func (p *parser) ifStatement() node {
	n := &ifNode{}
	for {
		cond := p.tuple()
		p.blockEnd()
		n.conds = append(n.conds, cond)
		n.bodies = append(n.bodies, p.body("elif", "else", "endif"))
		switch p.next().text {
		case "elif":
			continue
		case "else":
			p.blockEnd()
			n.otherwise = p.body("endif")
			p.next()
		}
		p.blockEnd()
		return n
	}
}

func (p *parser) forStatement(line int) node {
	n := &forNode{line: line, targets: p.targets()}
	if !p.acceptName("in") {
		failf(line, "for without in")
	}
	n.over = p.tupleUntil("if", "recursive")
	if p.acceptName("if") {
		n.cond = p.expression()
	}
	if p.isName("recursive") {
		failf(line, "recursive loops are not supported")
	}
	p.blockEnd()
	p.loops++
	n.body = p.body("else", "endfor")
	p.loops--
	if p.next().text == "else" {
		p.blockEnd()
		n.otherwise = p.body("endfor")
		p.next()
	}
	p.blockEnd()
	return n
}

// targets reads a, b or (a, b).
func (p *parser) targets() []string {
	closing := p.acceptOp("(")
	names := []string{p.expectName()}
	for p.acceptOp(",") {
		if p.tok().kind != tokName || p.isName("in") {
			break
		}
		names = append(names, p.expectName())
	}
	if closing {
		p.expectOp(")")
	}
	return names
}

func (p *parser) setStatement(line int) node {
	n := &setNode{line: line}
	if n.names = p.targets(); len(n.names) == 1 && p.acceptOp(".") {
		n.attr = p.expectName()
	}
	if p.acceptOp("=") {
		n.value = p.tuple()
		p.blockEnd()
		return n
	}
	var filters []*filterExpr
	for p.acceptOp("|") {
		f := &filterExpr{line: line, name: p.expectName()}
		if p.acceptOp("(") {
			f.args, f.kwargs = p.arguments()
		}
		filters = append(filters, f)
	}
	p.blockEnd()
	body := p.body("endset")
	p.next()
	p.blockEnd()
	n.value = &captureExpr{body}
	for _, f := range filters {
		f.in = n.value
		n.value = f
	}
	return n
}

func (p *parser) macroStatement(line int) node {
	m := &macroNode{line: line, name: p.expectName()}
	p.expectOp("(")
	for !p.acceptOp(")") {
		m.params = append(m.params, p.expectName())
		var dflt expr
		if p.acceptOp("=") {
			dflt = p.expression()
		}
		m.defaults = append(m.defaults, dflt)
		if !p.isOp(")") {
			p.expectOp(",")
		}
	}
	p.blockEnd()
	loops := p.loops
	p.loops = 0
	m.body = p.body("endmacro")
	p.loops = loops
	p.next()
	if p.tok().kind == tokName {
		p.next()
	}
	p.blockEnd()
	return m
}
