package jinja

import (
	"strconv"
	"strings"
)

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

// tuple parses an expression or a, b, c.
func (p *parser) tuple() expr { return p.tupleUntil() }

func (p *parser) tupleUntil(stops ...string) expr {
	stop := func() bool {
		t := p.tok()
		if t.kind == tokName {
			for _, s := range stops {
				if t.text == s {
					return true
				}
			}
		}
		return t.kind == tokVarEnd || t.kind == tokBlockEnd || t.kind == tokOp && (t.text == ")" || t.text == "=")
	}
	parse := p.expression
	if len(stops) > 0 {
		parse = p.or // an `if` that follows belongs to the loop
	}
	first := parse()
	if !p.isOp(",") {
		return first
	}
	l := &listExpr{items: []expr{first}, tuple: true}
	for p.acceptOp(",") && !stop() {
		l.items = append(l.items, parse())
	}
	return l
}

func (p *parser) expression() expr {
	defer p.deeper()()
	e := p.or()
	for p.isName("if") {
		line := p.next().line
		cond := p.or()
		c := &condExpr{cond: cond, yes: e, line: line}
		if p.acceptName("else") {
			c.no = p.expression()
		}
		e = c
	}
	return e
}

func (p *parser) or() expr {
	e := p.and()
	for p.acceptName("or") {
		e = &boolExpr{or: true, a: e, b: p.and()}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.acceptName("and") {
		e = &boolExpr{a: e, b: p.not()}
	}
	return e
}

func (p *parser) not() expr {
	defer p.deeper()()
	if p.acceptName("not") {
		return &notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	e := p.sum()
	var chain *compareExpr
	for {
		t := p.tok()
		op := ""
		switch {
		case t.kind == tokOp && strings.Contains(" == != < > <= >= ", " "+t.text+" "):
			op = t.text
			p.next()
		case p.isName("in"):
			op = "in"
			p.next()
		case p.isName("not") && p.tokens[p.at+1].kind == tokName && p.tokens[p.at+1].text == "in":
			op = "not in"
			p.next()
			p.next()
		default:
			return e
		}
		if chain == nil {
			chain = &compareExpr{line: t.line, first: e}
			e = chain
		}
		chain.ops = append(chain.ops, op)
		chain.rest = append(chain.rest, p.sum())
	}
}

func (p *parser) binary(sub func() expr, ops ...string) expr {
	e := sub()
	for {
		found := ""
		for _, o := range ops {
			if p.isOp(o) {
				found = o
			}
		}
		if found == "" {
			return e
		}
		line := p.next().line
		e = &binaryExpr{line, found, e, sub()}
	}
}

func (p *parser) sum() expr     { return p.binary(p.concat, "+", "-") }
func (p *parser) concat() expr  { return p.binary(p.product, "~") }
func (p *parser) product() expr { return p.binary(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr   { return p.binary(func() expr { return p.unary(true) }, "**") }

func (p *parser) unary(filters bool) expr {
	defer p.deeper()()
	var e expr
	switch line := p.tok().line; {
	case p.acceptOp("-"):
		e = &negExpr{line, p.unary(false)}
	case p.acceptOp("+"):
		e = p.unary(false)
	default:
		e = p.postfix(p.primary())
	}
	if filters {
		e = p.filters(e)
	}
	return e
}

func (p *parser) filters(e expr) expr {
	for {
		line := p.tok().line
		switch {
		case p.acceptOp("|"):
			f := &filterExpr{line: line, in: e, name: p.expectName()}
			if p.acceptOp("(") {
				f.args, f.kwargs = p.arguments()
			}
			e = f
		case p.isName("is"):
			p.next()
			t := &testExpr{line: line, in: e, negative: p.acceptName("not")}
			t.name = p.next().text // a name, or in
			switch nt := p.tok(); {
			case p.acceptOp("("):
				t.args, _ = p.arguments()
			case nt.kind == tokString || nt.kind == tokInt || nt.kind == tokFloat || p.isOp("[") || p.isOp("{") ||
				nt.kind == tokName && !strings.Contains(" else or and is if in not recursive ", " "+nt.text+" "):
				t.args = []expr{p.postfix(p.primary())}
			}
			e = t
		case p.isOp("("), p.isOp("."), p.isOp("["):
			e = p.postfix(e)
		default:
			return e
		}
	}
}

func (p *parser) arguments() (args []expr, kwargs []keyword) {
	for !p.acceptOp(")") {
		if t := p.tok(); t.kind == tokName && p.tokens[p.at+1].kind == tokOp && p.tokens[p.at+1].text == "=" {
			p.at += 2
			kwargs = append(kwargs, keyword{t.text, p.expression()})
		} else {
			args = append(args, p.expression())
		}
		if !p.isOp(")") {
			p.expectOp(",")
		}
	}
	return args, kwargs
}

func (p *parser) postfix(e expr) expr {
	for {
		line := p.tok().line
		switch {
		case p.acceptOp("."):
			t := p.next()
			switch t.kind {
			case tokName:
				e = &attrExpr{line, e, t.text}
			case tokInt:
				n, _ := strconv.ParseInt(t.text, 10, 64)
				e = &indexExpr{line, e, &constExpr{n}}
			default:
				failf(line, "a name expected after ., found %v", t)
			}
		case p.acceptOp("["):
			e = p.subscript(line, e)
		case p.acceptOp("("):
			c := &callExpr{line: line, fn: e}
			c.args, c.kwargs = p.arguments()
			e = c
		default:
			return e
		}
	}
}

func (p *parser) subscript(line int, e expr) expr {
	var parts [3]expr
	n := 0
	for i := range parts {
		if !p.isOp(":") && !p.isOp("]") {
			parts[i] = p.expression()
		}
		if !p.acceptOp(":") {
			break
		}
		n++
	}
	p.expectOp("]")
	if n == 0 {
		if parts[0] == nil {
			failf(line, "an empty subscript")
		}
		return &indexExpr{line, e, parts[0]}
	}
	return &sliceExpr{line, e, parts}
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return &constExpr{true}
		case "false", "False":
			return &constExpr{false}
		case "none", "None":
			return &constExpr{nil}
		}
		return &nameExpr{t.line, t.text}
	case tokString:
		s := t.text
		for p.tok().kind == tokString {
			s += p.next().text
		}
		return &constExpr{s}
	case tokInt:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			failf(t.line, "number %s is too large", t.text)
		}
		return &constExpr{n}
	case tokFloat:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			failf(t.line, "number %s", t.text)
		}
		return &constExpr{f}
	case tokOp:
		switch t.text {
		case "(":
			if p.acceptOp(")") {
				return &listExpr{tuple: true}
			}
			e := p.tuple()
			p.expectOp(")")
			return e
		case "[":
			l := &listExpr{}
			for !p.acceptOp("]") {
				l.items = append(l.items, p.expression())
				if !p.isOp("]") {
					p.expectOp(",")
				}
			}
			return l
		case "{":
			d := &dictExpr{}
			for !p.acceptOp("}") {
				d.keys = append(d.keys, p.expression())
				p.expectOp(":")
				d.values = append(d.values, p.expression())
				if !p.isOp("}") {
					p.expectOp(",")
				}
			}
			return d
		}
	}
	failf(t.line, "unexpected %v", t)
	return nil
}
