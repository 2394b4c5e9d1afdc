package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
)

// The values of a template: nil, bool, int64, float64, string, *list, *dict,
// *namespace, function and undefined.

type list struct {
	items []any
	tuple bool
}

// dict keeps its keys in the order in which they were added.
type dict struct {
	keys   []string
	values map[string]any
}

func newDict() *dict { return &dict{values: map[string]any{}} }

func (d *dict) set(k string, v any) {
	if _, ok := d.values[k]; !ok {
		d.keys = append(d.keys, k)
	}
	d.values[k] = v
}

// namespace is what namespace() makes: the only value that set can change.
type namespace struct{ *dict }

// undefined is the value of a name or key that is not there.
type undefined struct{ name string }

// function is what can be called.
type function func(s *state, line int, args []any, kwargs map[string]any) any

// fromGo converts a Go value: what encoding/json gives, structs with JSON tags,
// json.RawMessage (which keeps the order of keys; Go maps are sorted).
func fromGo(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string, int64, float64:
		return v, nil
	case int:
		return int64(v), nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case json.RawMessage:
		dec := json.NewDecoder(bytes.NewReader(v))
		dec.UseNumber()
		return fromJSON(dec, 0)
	case map[string]any:
		d := newDict()
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			x, err := fromGo(v[k])
			if err != nil {
				return nil, err
			}
			d.set(k, x)
		}
		return d, nil
	case []any:
		l := &list{}
		for _, x := range v {
			y, err := fromGo(x)
			if err != nil {
				return nil, err
			}
			l.items = append(l.items, y)
		}
		return l, nil
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Func, reflect.Chan:
		return nil, fmt.Errorf("a value of type %T cannot be given to a template", v)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fromGo(json.RawMessage(raw))
}

func fromJSON(dec *json.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("JSON nested more than %d deep", maxNesting)
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '[' {
			l := &list{}
			for dec.More() {
				x, err := fromJSON(dec, depth+1)
				if err != nil {
					return nil, err
				}
				l.items = append(l.items, x)
			}
			_, err := dec.Token()
			return l, err
		}
		d := newDict()
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			x, err := fromJSON(dec, depth+1)
			if err != nil {
				return nil, err
			}
			d.set(k.(string), x)
		}
		_, err := dec.Token()
		return d, err
	case json.Number:
		return fromGo(t)
	}
	return tok, nil
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case undefined:
		return "undefined"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *list:
		return "list"
	case *dict:
		return "dict"
	}
	return fmt.Sprintf("%T", v)
}
