package config

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

//go:embed presets.yaml
var presetsYAML []byte

//go:embed defaults.yaml
var defaultsYAML []byte

// builtin is the parsed tables, read once.
var builtin = sync.OnceValue(func() (t struct{ defaults, presets *value }) {
	var err error
	if t.defaults, err = parse(defaultsYAML, "default", "defaults.yaml"); err != nil {
		panic(err)
	}
	t.defaults.each(func(v *value) { v.origin = Origin{Kind: "default"} })
	if t.presets, err = parse(presetsYAML, "preset", "presets.yaml"); err != nil {
		panic(err)
	}
	return t
})

// each calls fn with v and everything below it.
func (v *value) each(fn func(*value)) {
	fn(v)
	for _, f := range v.fields {
		f.each(fn)
	}
	for _, i := range v.items {
		i.each(fn)
	}
}

// Presets returns the names that a recipe's preset may have, ascending: all but those
// that are a stage's kind.
func Presets() []string {
	names := slices.DeleteFunc(slices.Clone(builtin().presets.keys), func(name string) bool { return dsaKinds[name] != "" })
	slices.Sort(names)
	return names
}

// preset returns a preset's tree, its base included, with the sources in the
// origins.
func preset(name string, at *value) (*value, error) {
	p := builtin().presets.fields[name]
	if p == nil {
		err := at.errorf("unknown preset %q", name)
		if n := nearest(name, Presets()); n != "" {
			return nil, err.WithFix("did you mean %q?", n)
		}
		return nil, err.WithFix("presets: %s", strings.Join(Presets(), ", "))
	}
	out := unpair(p, name)
	out.drop("about")
	if base := out.drop("base"); base != nil {
		under, err := preset(base.scalar.(string), at)
		if err != nil {
			return nil, err
		}
		out = under.merge(out)
	}
	return out, nil
}

// unpair turns the leaves [value, source] into values.
func unpair(v *value, name string) *value {
	if v.isList {
		leaf := v.items[0].clone()
		leaf.origin = Origin{Kind: "preset", File: name, Source: v.items[1].scalar.(string)}
		return leaf
	}
	out := v.clone()
	out.origin = Origin{Kind: "preset", File: name}
	for k, f := range v.fields {
		out.fields[k] = unpair(f, name)
	}
	return out
}

// PresetAbout returns a preset's one-line description.
func PresetAbout(name string) string {
	if v := builtin().presets.path(name + ".about"); v != nil {
		return v.scalar.(string)
	}
	return ""
}
