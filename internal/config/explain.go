package config

import (
	"encoding/json"
	"fmt"
	"sort"
)

// Line is one value of a resolved recipe.
type Line struct {
	Path   string // in RunSpec's JSON: stages[0].algorithm.epsilon
	Value  string
	Origin string // default, preset dapo, recipe.yaml:4:13, --set ...
	Source string // of a preset's value: paper and section
	Unit   string // "" where there is none
	About  string // what the key means
}

// Explain lists every value with where it came from, by path.
func (r *Resolved) Explain() ([]Line, error) {
	raw, err := json.Marshal(r.Spec)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, err
	}
	values := map[string]string{}
	flatten("", tree, values)
	var lines []Line
	for path, v := range values {
		key := Describe(path)
		l := Line{Path: path, Value: v, Origin: "derived", Unit: key.Unit, About: key.About}
		if o, ok := r.Origin[path]; ok {
			l.Origin, l.Source = o.String(), o.Source
		}
		lines = append(lines, l)
	}
	sort.Slice(lines, func(i, j int) bool { return lines[i].Path < lines[j].Path })
	return lines, nil
}

func flatten(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, f := range v {
			flatten(join(path, k), f, out)
		}
	case []any:
		for i, f := range v {
			flatten(fmt.Sprintf("%s[%d]", path, i), f, out)
		}
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			raw = []byte("?")
		}
		out[path] = string(raw)
	}
}
