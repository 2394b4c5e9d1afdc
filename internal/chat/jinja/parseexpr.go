package jinja

import (
	"strconv"
	"strings"
)

// maxChain bounds the operators, filters and accesses in a row: each is one more
// call when the template is rendered.
const maxChain = 2000

// chain returns a function that counts one more link.
func (p *parser) chain() func() {
	n := 0
	return func() {
		if n++; n > maxChain {
			failf(p.tok().line, "more than %d operators in a row", maxChain)
		}
	}
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
	link := p.chain()
	for p.isName("if") {
		link()
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
	link := p.chain()
	for p.acceptName("or") {
		link()
		e = &boolExpr{or: true, a: e, b: p.and()}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	link := p.chain()
	for p.acceptName("and") {
		link()
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
	link := p.chain()
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
		link()
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
	link := p.chain()
	for {
		link()
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
	link := p.chain()
	for {
		link()
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
