package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/grouse-rl/grouse"
)

// value is a YAML value that remembers where it was written.
type value struct {
	origin Origin
	keys   []string          // of a mapping, in order
	fields map[string]*value // mapping; nil: not a mapping
	items  []*value          // sequence
	isList bool
	scalar any // string, int, float64, bool or nil
}

// Origin is where a value came from.
type Origin struct {
	Kind   string // default, preset, recipe, stage, --set
	File   string // recipe's file name, or the preset's name
	Line   int
	Col    int
	Source string // of a preset's value: paper and section
}

func (o Origin) String() string {
	switch {
	case o.Kind == "preset":
		return "preset " + o.File
	case o.Line > 0:
		return fmt.Sprintf("%s:%d:%d", o.File, o.Line, o.Col)
	}
	return o.Kind
}

const (
	maxFile  = 1 << 20
	maxDepth = 64
	maxNodes = 1 << 17
)

// parse reads one YAML document. Aliases are resolved, within bounds.
func parse(raw []byte, kind, file string) (*value, error) {
	if len(raw) > maxFile {
		return nil, grouse.Errorf(grouse.Invalid, "%s: %d bytes, a recipe has at most %d", file, len(raw), maxFile)
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, grouse.Errorf(grouse.Invalid, "%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil && len(more.Content) > 0 {
		return nil, grouse.Errorf(grouse.Invalid, "%s:%d: a second YAML document begins after ---", file, more.Content[0].Line).WithFix("a recipe is one document: remove the line ---, or put the rest into a file of its own")
	}
	if len(doc.Content) == 0 {
		return nil, grouse.Errorf(grouse.Invalid, "%s: the file is empty", file).WithFix("start from `grouse recipe show quickstart`")
	}
	p := parser{kind: kind, file: file}
	return p.value(doc.Content[0], 0)
}

type parser struct {
	kind, file string
	nodes      int
}

func (p *parser) value(n *yaml.Node, depth int) (*value, error) {
	v := &value{origin: Origin{Kind: p.kind, File: p.file, Line: n.Line, Col: n.Column}}
	if p.nodes++; p.nodes > maxNodes || depth > maxDepth {
		return nil, v.errorf("the YAML is too large or too deep")
	}
	switch n.Kind {
	case yaml.AliasNode:
		return p.value(n.Alias, depth+1)
	case yaml.MappingNode:
		v.fields = map[string]*value{}
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			at := &value{origin: Origin{Kind: p.kind, File: p.file, Line: k.Line, Col: k.Column}}
			if k.Kind != yaml.ScalarNode {
				return nil, at.errorf("a key must be a word")
			}
			if _, twice := v.fields[k.Value]; twice {
				return nil, at.errorf("key %q is given twice", k.Value)
			}
			child, err := p.value(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			if child.fields == nil && !child.isList {
				child.origin = at.origin // errors point at the key
			}
			v.set(k.Value, child)
		}
	case yaml.SequenceNode:
		v.isList = true
		for _, c := range n.Content {
			child, err := p.value(c, depth+1)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, child)
		}
	case yaml.ScalarNode:
		if err := n.Decode(&v.scalar); err != nil {
			return nil, v.errorf("%v", err)
		}
		switch s := v.scalar.(type) {
		case string, bool, int, float64, nil:
		case int64:
			v.scalar = int(s)
		case uint64:
			v.scalar = float64(s)
		default: // a date, say: as it was written
			v.scalar = n.Value
		}
	default:
		return nil, v.errorf("unexpected YAML")
	}
	return v, nil
}

func (v *value) set(key string, child *value) {
	if _, ok := v.fields[key]; !ok {
		v.keys = append(v.keys, key)
	}
	v.fields[key] = child
}

func (v *value) drop(key string) *value {
	child := v.fields[key]
	if child != nil {
		delete(v.fields, key)
		v.keys = slices.DeleteFunc(v.keys, func(k string) bool { return k == key })
	}
	return child
}

// errorf names the value's place.
func (v *value) errorf(format string, args ...any) *grouse.Error {
	return grouse.Errorf(grouse.Invalid, "%s: %s", v.origin, fmt.Sprintf(format, args...))
}

func (v *value) clone() *value {
	c := *v
	if v.fields != nil {
		c.keys = slices.Clone(v.keys)
		c.fields = make(map[string]*value, len(v.fields))
		for k, f := range v.fields {
			c.fields[k] = f.clone()
		}
	}
	c.items = nil
	for _, i := range v.items {
		c.items = append(c.items, i.clone())
	}
	return &c
}

// merge lays over on top of v: mappings are merged key by key, anything else is
// replaced.
func (v *value) merge(over *value) *value {
	if v == nil {
		return over.clone()
	}
	if v.fields == nil || over.fields == nil {
		return over.clone()
	}
	out := v.clone()
	out.origin = over.origin
	for _, k := range over.keys {
		out.set(k, out.fields[k].merge(over.fields[k]))
	}
	return out
}

// path returns the value at a dotted path, nil if there is none.
func (v *value) path(dotted string) *value {
	for _, k := range strings.Split(dotted, ".") {
		if v == nil || v.fields == nil {
			return nil
		}
		v = v.fields[k]
	}
	return v
}

// put sets the value at a dotted path, making mappings on the way.
func (v *value) put(dotted string, leaf *value) error {
	keys := strings.Split(dotted, ".")
	for _, k := range keys[:len(keys)-1] {
		next := v.fields[k]
		if next == nil {
			next = mapping(leaf.origin)
			v.set(k, next)
		}
		if next.fields == nil {
			return leaf.errorf("%s: %q is not a block", dotted, k)
		}
		v = next
	}
	v.set(keys[len(keys)-1], leaf)
	return nil
}

func mapping(o Origin) *value { return &value{origin: o, fields: map[string]*value{}} }

func scalar(o Origin, v any) *value { return &value{origin: o, scalar: v} }

// plain returns the value as encoding/json would decode it.
func (v *value) plain() any {
	switch {
	case v.fields != nil:
		m := map[string]any{}
		for k, f := range v.fields {
			m[k] = f.plain()
		}
		return m
	case v.isList:
		l := []any{}
		for _, i := range v.items {
			l = append(l, i.plain())
		}
		return l
	}
	return v.scalar
}
