package jinja

import (
	"strings"
)

// test applies a test.
func (s *state) test(line int, name string, v any, args []any) bool {
	s.line = line
	_, none := v.(undefined)
	need := func() any {
		if len(args) != 1 {
			failf(line, "test %s takes one argument", name)
		}
		return args[0]
	}
	switch name {
	case "defined":
		return !none
	case "undefined":
		return none
	case "none":
		return v == nil
	case "true":
		return v == true
	case "false":
		return v == false
	case "boolean":
		return kindOf(v) == "bool"
	case "integer":
		return kindOf(v) == "int"
	case "float":
		return kindOf(v) == "float"
	case "number":
		_, ok := number(v)
		return ok
	case "string":
		return kindOf(v) == "str"
	case "mapping":
		return kindOf(v) == "dict"
	case "sequence", "iterable":
		switch v.(type) {
		case string, *list, *dict, undefined:
			return true
		}
		return false
	case "callable":
		_, ok := v.(function)
		return ok
	case "even", "odd", "divisibleby":
		by := int64(2)
		if name == "divisibleby" {
			by, _ = integer(need())
		}
		n, ok := integer(v)
		if !ok || by == 0 {
			failf(line, "test %s of %s", name, kindOf(v))
		}
		return (n%by == 0) == (name != "odd")
	case "lower", "upper":
		t := s.str(v)
		lo, up := strings.ToLower(t), strings.ToUpper(t)
		return lo != up && (name == "lower" && t == lo || name == "upper" && t == up)
	case "in":
		return s.contains(need(), v)
	case "eq", "equalto", "==":
		return s.equal(v, need(), 0)
	case "ne", "!=":
		return !s.equal(v, need(), 0)
	case "lt", "lessthan", "<":
		return s.compare("<", v, need())
	case "le", "<=":
		return s.compare("<=", v, need())
	case "gt", "greaterthan", ">":
		return s.compare(">", v, need())
	case "ge", ">=":
		return s.compare(">=", v, need())
	case "sameas":
		return s.equal(v, need(), 0) && kindOf(v) == kindOf(need())
	}
	failf(line, "unknown test %q", name)
	return false
}
