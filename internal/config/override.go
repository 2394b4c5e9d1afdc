package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Override returns a resolved recipe with some keys changed, key.path=YAML value
// each. Stages and domains go by their names: stages.rl.domains.math.beta=0.1; a
// key that every stage has, such as trainer.learning_rate, is set in all of them.
func (r *Resolved) Override(sets []string) (*Resolved, error) {
	raw, err := r.Save()
	if err != nil {
		return nil, err
	}
	file, err := parse(raw, "recipe", r.Spec.Name+"/recipe.yaml")
	if err != nil {
		return nil, err
	}
	tree := file.fields["resolved"]
	for _, s := range sets {
		if err := override(tree, s); err != nil {
			return nil, err
		}
	}
	for _, s := range tree.path("stages").itemsOrNil() {
		if err := shortForms(s); err != nil {
			return nil, err
		}
	}
	if err := trackers(tree); err != nil {
		return nil, err
	}
	out := &Resolved{Base: r.Base, Origin: map[string]Origin{}}
	if err := decode(tree, reflect.ValueOf(&out.Spec).Elem(), "", out.Origin); err != nil {
		return nil, err
	}
	return out, check(out)
}

// fixed are keys that say where a resolved recipe came from: changing them would
// change nothing, or everything.
var fixed = []string{"name", "recipe", "preset", "model", "stages", "domains", "rejection_sampling"}

func override(tree *value, set string) error {
	key, text, ok := strings.Cut(set, "=")
	if !ok || key == "" {
		return grouse.Errorf(grouse.Invalid, "--set %s: want key=value", set).WithFix("for example --set trainer.learning_rate=1e-5")
	}
	leaf, err := parse([]byte(text+"\n"), "--set", "--set "+set)
	if err != nil {
		if text != "" {
			return err
		}
		leaf = scalar(Origin{}, nil)
	}
	leaf.each(func(c *value) { c.origin = Origin{Kind: "--set " + key} })
	if slices.Contains(fixed, key) || strings.HasPrefix(key, "model.") {
		return leaf.errorf("%s of a run that exists cannot be changed", key).WithFix("write a recipe of your own: grouse run my.yaml")
	}
	keys := strings.Split(key, ".")
	if !slices.Contains(stageKeys, keys[0]) {
		return place(tree, keys, leaf)
	}
	for _, s := range tree.path("stages").itemsOrNil() {
		if err := place(s, keys, leaf); err != nil {
			return err
		}
	}
	return nil
}

// place sets the value at a path, in which items of a list go by their name.
func place(at *value, keys []string, leaf *value) error {
	if n := len(keys); n > 1 && (keys[n-2] == "rollout" || keys[n-2] == "eval") && slices.Contains(samplingKeys, keys[n-1]) {
		keys = slices.Insert(slices.Clone(keys), n-1, "sampling")
	}
	for i, k := range keys[:len(keys)-1] {
		var next *value
		switch {
		case at.isList:
			var names []string
			for _, item := range at.items {
				name := item.path("name")
				if name == nil {
					continue
				}
				names = append(names, fmt.Sprint(name.scalar))
				if name.scalar == k {
					next = item
				}
			}
			if next == nil {
				return leaf.errorf("%s has no %q", strings.Join(keys[:i], "."), k).WithFix("it has %s", strings.Join(names, ", "))
			}
		default:
			if next = at.fields[k]; next == nil {
				next = mapping(leaf.origin)
				at.set(k, next)
			}
		}
		if next.fields == nil && !next.isList {
			return leaf.errorf("%q is not a block", k)
		}
		at = next
	}
	if at.isList {
		return leaf.errorf("%s is a list: a key of one of its items is needed", strings.Join(keys[:len(keys)-1], "."))
	}
	last := keys[len(keys)-1]
	at.set(last, at.fields[last].merge(leaf)) // a block changes the keys that it has
	return nil
}

// shortForms resolves what --set may have put into a stage in short.
func shortForms(s *value) error {
	if a := s.fields["algorithm"]; a != nil && a.fields != nil {
		if err := algorithm(a); err != nil {
			return err
		}
	}
	for _, d := range s.fields["domains"].itemsOrNil() {
		if d.fields == nil {
			continue
		}
		if v := d.fields["data"]; v != nil {
			d.set("data", data(v))
		}
		if err := rewards(d); err != nil {
			return err
		}
	}
	return nil
}
