package jinja

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func (s *state) equal(a, b any, depth int) bool {
	s.step(1)
	if depth > maxNesting {
		failf(s.line, "values nested more than %d deep", maxNesting)
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, ok := b.(undefined)
		return ok
	case string:
		t, ok := b.(string)
		return ok && a == t
	case *list:
		o, ok := b.(*list)
		if !ok || len(a.items) != len(o.items) || a.tuple != o.tuple {
			return false
		}
		for i := range a.items {
			if !s.equal(a.items[i], o.items[i], depth+1) {
				return false
			}
		}
		return true
	case *dict:
		o, ok := b.(*dict)
		if !ok || len(a.keys) != len(o.keys) {
			return false
		}
		for k, v := range a.values {
			w, ok := o.values[k]
			if !ok || !s.equal(v, w, depth+1) {
				return false
			}
		}
		return true
	}
	return false
}

// less orders two numbers, strings or lists, as Python does.
func (s *state) less(a, b any, depth int) bool {
	s.step(1)
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return x < y
		}
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return x < y
		}
	}
	x, ok1 := a.(*list)
	y, ok2 := b.(*list)
	if !ok1 || !ok2 || depth > maxNesting {
		failf(s.line, "%s and %s cannot be compared", kindOf(a), kindOf(b))
	}
	for i := range min(len(x.items), len(y.items)) {
		if !s.equal(x.items[i], y.items[i], depth+1) {
			return s.less(x.items[i], y.items[i], depth+1)
		}
	}
	return len(x.items) < len(y.items)
}

// iterate returns the items that a loop sees.
func (s *state) iterate(v any) []any {
	var out []any
	switch v := v.(type) {
	case undefined:
		return nil
	case *list:
		out = v.items
	case *dict:
		for _, k := range v.keys {
			out = append(out, k)
		}
	case string:
		for _, r := range v {
			out = append(out, string(r))
		}
	default:
		failf(s.line, "%s cannot be iterated over", kindOf(v))
	}
	s.step(len(out))
	return out
}
