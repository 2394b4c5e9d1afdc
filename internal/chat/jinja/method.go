package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// method returns the method of a value, nil if it has none of that name. The
// methods that change a list or a dict do not exist here.
func method(v any, name string) any {
	switch v := v.(type) {
	case string:
		return stringMethod(v, name)
	case *dict:
		return dictMethod(v, name)
	case *list:
		switch name {
		case "index", "count":
			return function(func(s *state, line int, args []any, _ map[string]any) any {
				n := int64(0)
				for i, x := range v.items {
					if len(args) == 1 && s.equal(x, args[0], 0) {
						if name == "index" {
							return int64(i)
						}
						n++
					}
				}
				if name == "index" {
					failf(line, "list.index: not in the list")
				}
				return n
			})
		case "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse":
			return function(func(_ *state, line int, _ []any, _ map[string]any) any {
				failf(line, "list.%s would change a value: templates may not", name)
				return nil
			})
		}
	}
	return nil
}

func dictMethod(d *dict, name string) any {
	switch name {
	case "items", "keys", "values":
		return function(func(s *state, _ int, _ []any, _ map[string]any) any {
			s.step(len(d.keys))
			out := make([]any, len(d.keys))
			for i, k := range d.keys {
				switch name {
				case "items":
					out[i] = &list{[]any{k, d.values[k]}, true}
				case "keys":
					out[i] = k
				default:
					out[i] = d.values[k]
				}
			}
			return s.newList(out)
		})
	case "get":
		return function(func(s *state, line int, args []any, _ map[string]any) any {
			if len(args) < 1 || len(args) > 2 {
				failf(line, "dict.get takes a key and a default")
			}
			if k, ok := args[0].(string); ok {
				if v, ok := d.values[k]; ok {
					return v
				}
			}
			if len(args) == 2 {
				return args[1]
			}
			return nil
		})
	case "pop", "update", "setdefault", "clear", "popitem":
		return function(func(_ *state, line int, _ []any, _ map[string]any) any {
			failf(line, "dict.%s would change a value: templates may not", name)
			return nil
		})
	}
	return nil
}

func stringMethod(t, name string) any {
	if !strings.Contains(" strip lstrip rstrip split rsplit splitlines startswith endswith replace upper lower title capitalize join find rfind index count removeprefix removesuffix isdigit isspace isalpha isalnum isupper islower partition rpartition ", " "+name+" ") {
		return nil
	}
	return function(func(s *state, line int, args []any, kwargs map[string]any) any {
		s.step(1 + len(t)/64)
		return s.stringMethod(line, t, name, args, kwargs)
	})
}

func (s *state) stringMethod(line int, t, name string, args []any, kwargs map[string]any) any {
	word := func(i int) string {
		if i < len(args) {
			if w, ok := args[i].(string); ok {
				return w
			}
			if args[i] == nil && strings.Contains(name, "s") {
				return ""
			}
			failf(line, "str.%s: argument %d is %s, not a string", name, i+1, kindOf(args[i]))
		}
		return ""
	}
	need := func(n int) {
		if len(args) < n {
			failf(line, "str.%s takes %d arguments", name, n)
		}
	}
	all := func(test func(rune) bool) bool {
		for _, r := range t {
			if !test(r) {
				return false
			}
		}
		return t != ""
	}
	switch name {
	case "strip", "lstrip", "rstrip":
		return s.made(strip(t, word(0), name != "rstrip", name != "lstrip"))
	case "split", "rsplit":
		limit := int64(-1)
		if v, ok := kwargs["maxsplit"]; ok {
			limit, _ = integer(v)
		} else if len(args) > 1 {
			limit, _ = integer(args[1])
		}
		s.memory(2 * len(t))
		return s.split(line, t, word(0), int(limit), name == "rsplit", len(args) == 0 || args[0] == nil)
	case "splitlines":
		lines := strings.Split(strings.ReplaceAll(strings.ReplaceAll(t, "\r\n", "\n"), "\r", "\n"), "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		s.memory(len(t))
		return s.texts(lines)
	case "startswith", "endswith":
		need(1)
		test := strings.HasPrefix
		if name == "endswith" {
			test = strings.HasSuffix
		}
		if l, ok := args[0].(*list); ok {
			for _, x := range l.items {
				if w, ok := x.(string); ok && test(t, w) {
					return true
				}
			}
			return false
		}
		return test(t, word(0))
	case "removeprefix":
		return strings.TrimPrefix(t, word(0))
	case "removesuffix":
		return strings.TrimSuffix(t, word(0))
	case "replace":
		need(2)
		limit := int64(-1)
		if len(args) > 2 {
			limit, _ = integer(args[2])
		}
		old, with := word(0), word(1)
		n := strings.Count(t, old)
		s.memory(len(t) + n*max(len(with)-len(old), 0))
		return strings.Replace(t, old, with, int(limit))
	case "upper":
		return s.made(strings.ToUpper(t))
	case "lower":
		return s.made(strings.ToLower(t))
	case "capitalize":
		_, n := utf8.DecodeRuneInString(t)
		return s.made(strings.ToUpper(t[:n]) + strings.ToLower(t[n:]))
	case "title":
		start := true
		return s.made(strings.Map(func(r rune) rune {
			was := start
			start = !unicode.IsLetter(r)
			if was {
				return unicode.ToTitle(r)
			}
			return unicode.ToLower(r)
		}, t))
	case "join":
		need(1)
		return s.filter(line, "join", args[0], []any{t}, nil)
	case "find", "rfind", "index":
		need(1)
		i := strings.Index(t, word(0))
		if name == "rfind" {
			i = strings.LastIndex(t, word(0))
		}
		if i < 0 {
			if name == "index" {
				failf(line, "str.index: not found")
			}
			return int64(-1)
		}
		return int64(utf8.RuneCountInString(t[:i]))
	case "count":
		need(1)
		return int64(strings.Count(t, word(0)))
	case "isdigit":
		return all(unicode.IsDigit)
	case "isspace":
		return all(unicode.IsSpace)
	case "isalpha":
		return all(unicode.IsLetter)
	case "isalnum":
		return all(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	case "isupper":
		return strings.ToUpper(t) == t && strings.ToLower(t) != t
	case "islower":
		return strings.ToLower(t) == t && strings.ToUpper(t) != t
	}
	// partition, rpartition
	need(1)
	a, b, ok := strings.Cut(t, word(0))
	if name == "rpartition" {
		if i := strings.LastIndex(t, word(0)); i >= 0 {
			a, b = t[:i], t[i+len(word(0)):]
		} else {
			return s.texts([]string{"", "", t})
		}
	}
	parts := s.texts([]string{a, word(0), b})
	if !ok {
		parts = s.texts([]string{t, "", ""})
	}
	parts.tuple = true
	return parts
}

func (s *state) texts(parts []string) *list {
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	s.step(len(out))
	return s.newList(out)
}

func (s *state) split(line int, t, sep string, limit int, right, space bool) any {
	if space {
		fields := strings.Fields(t)
		if limit >= 0 && len(fields) > limit+1 {
			failf(line, "split by white space with a limit is not supported")
		}
		return s.texts(fields)
	}
	if sep == "" {
		failf(line, "split by an empty string")
	}
	if limit < 0 {
		return s.texts(strings.Split(t, sep))
	}
	if !right {
		return s.texts(strings.SplitN(t, sep, limit+1))
	}
	var tail []string
	for ; limit > 0; limit-- {
		i := strings.LastIndex(t, sep)
		if i < 0 {
			break
		}
		tail = append(tail, t[i+len(sep):])
		t = t[:i]
	}
	parts := []string{t}
	for i := len(tail) - 1; i >= 0; i-- {
		parts = append(parts, tail[i])
	}
	return s.texts(parts)
}
