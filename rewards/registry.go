package rewards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
)

// Entry names a reward for recipes: `use: NAME`.
type Entry struct {
	Name  string
	Doc   string // one line: what it rewards and its range
	Pure  bool   // cheap, no process and no network: may run inside the caller
	New   func(params map[string]any) (Reward, error)
	Usage string // its parameters as a recipe writes them: "{use: exact, column: answer}"
	// Deadline is for one group; 0: DefaultDeadline.
	Deadline time.Duration
}

// Registry is the rewards that a program knows. The zero value is empty and ready.
// It is filled before it is used and not changed after.
type Registry struct {
	entries map[string]Entry
}

// Add registers a reward. A name is registered once.
func (r *Registry) Add(e Entry) error {
	if e.Name == "" || e.New == nil {
		return grouse.Errorf(grouse.Invalid, "a reward needs a name and a constructor")
	}
	if _, ok := r.entries[e.Name]; ok {
		return grouse.Errorf(grouse.Invalid, "a reward named %q is there already", e.Name)
	}
	if r.entries == nil {
		r.entries = map[string]Entry{}
	}
	r.entries[e.Name] = e
	return nil
}

// Entries returns what is registered, by name.
func (r *Registry) Entries() []Entry {
	out := make([]Entry, 0, len(r.entries))
	for _, e := range r.entries {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Lookup returns an entry, or an error of kind NotFound that names the others.
func (r *Registry) Lookup(name string) (Entry, error) {
	e, ok := r.entries[name]
	if !ok {
		return Entry{}, grouse.Errorf(grouse.NotFound, "unknown reward %q", name).WithFix("use one of %s", names(r.entries))
	}
	return e, nil
}

// New makes a reward from a recipe's parameters.
func (r *Registry) New(name string, params map[string]any) (Reward, error) {
	e, err := r.Lookup(name)
	if err != nil {
		return nil, err
	}
	reward, err := e.New(params)
	if err != nil {
		return nil, fmt.Errorf("reward %s: %w", name, err)
	}
	return reward, nil
}

// Compose makes a domain's rewards from its recipe.
func (r *Registry) Compose(specs []grouse.RewardSpec) (*Composite, error) {
	c := &Composite{}
	for _, s := range specs {
		e, err := r.Lookup(s.Use)
		if err != nil {
			return nil, err
		}
		reward, err := r.New(s.Use, s.Params)
		if err != nil {
			return nil, err
		}
		p := Part{Name: s.Name, Reward: reward, Weight: s.Weight, Gate: s.Gate, Clip: s.Clip, Deadline: e.Deadline, Retries: s.Retries}
		if p.Name == "" {
			p.Name = s.Use
		}
		if s.Deadline > 0 {
			p.Deadline = time.Duration(s.Deadline * float64(time.Second))
		}
		c.Parts = append(c.Parts, p)
	}
	return c, c.Validate()
}

// Decode fills a reward's options, which hold their defaults, from a recipe's
// parameters by the json names of the fields. An unknown parameter or one of the
// wrong type is an error that names it.
func Decode(params map[string]any, options any) error {
	if len(params) == 0 {
		return nil
	}
	data, err := json.Marshal(params)
	if err != nil {
		return grouse.Errorf(grouse.Invalid, "parameters: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(options); err != nil {
		return grouse.Errorf(grouse.Invalid, "parameters: %s", strings.TrimPrefix(err.Error(), "json: ")).
			WithFix("the parameters are %s", fields(options))
	}
	return nil
}

// fields lists the json names of an options struct.
func fields(options any) string {
	data, err := json.Marshal(options)
	var m map[string]json.RawMessage
	if err != nil || json.Unmarshal(data, &m) != nil {
		return "those in its documentation"
	}
	return names(m)
}

// names lists the keys of a map in order.
func names[V any](m map[string]V) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if len(keys) == 0 {
		return "none"
	}
	return strings.Join(keys, ", ")
}
