package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
)

// Comparison is two runs side by side.
type Comparison struct {
	A       string       `json:"a"`
	B       string       `json:"b"`
	Recipe  []KeyChange  `json:"recipe"`         // keys whose values differ
	At      *SharedStep  `json:"at,omitempty"`   // the last step that both have; absent: there is none
	Metrics []MetricPair `json:"metrics"`        // at it
	Eval    *SharedStep  `json:"eval,omitempty"` // the last evaluation that both have
	Evals   []MetricPair `json:"eval_metrics"`   // of it
}

// KeyChange is a key of a recipe in two runs, its values as JSON; null where a
// run has no such key.
type KeyChange struct {
	Key string          `json:"key"`
	A   json.RawMessage `json:"a"`
	B   json.RawMessage `json:"b"`
}

// SharedStep is a step that two runs have, by the name of its stage.
type SharedStep struct {
	Stage string `json:"stage"`
	Step  int64  `json:"step"`
}

// MetricPair is a metric of two runs; nil where a run does not have it.
type MetricPair struct {
	Metric string   `json:"metric"`
	A      *float64 `json:"a"`
	B      *float64 `json:"b"`
}

// MarshalJSON writes what JSON has no number for as grouse.Metrics does.
func (p MetricPair) MarshalJSON() ([]byte, error) {
	out := map[string]any{"metric": p.Metric, "a": nil, "b": nil}
	for side, v := range map[string]*float64{"a": p.A, "b": p.B} {
		if v == nil {
			continue
		}
		raw, err := grouse.Metrics{"v": *v}.MarshalJSON()
		if err != nil {
			return nil, err
		}
		var got map[string]any
		if err := json.Unmarshal(raw, &got); err != nil {
			return nil, err
		}
		out[side] = got["v"]
	}
	return json.Marshal(out)
}

// Compare compares the recipes of two runs and their metrics at the last step,
// and the last evaluation, that both have. Steps go by stage name and number.
func Compare(home, a, b string) (*Comparison, error) {
	ra, err := LoadRecipe(home, a)
	if err != nil {
		return nil, err
	}
	rb, err := LoadRecipe(home, b)
	if err != nil {
		return nil, err
	}
	out := &Comparison{A: a, B: b, Metrics: []MetricPair{}, Evals: []MetricPair{}}
	if out.Recipe, err = Changes(ra, rb); err != nil {
		return nil, err
	}
	la, err := readMetrics(home, ra)
	if err != nil {
		return nil, err
	}
	lb, err := readMetrics(home, rb)
	if err != nil {
		return nil, err
	}
	out.At, out.Metrics = lastShared(la, lb, "step", "sft")
	out.Eval, out.Evals = lastShared(la, lb, "eval")
	return out, nil
}

// Changes lists the keys in which two resolved recipes differ, the name apart.
func Changes(a, b *config.Resolved) ([]KeyChange, error) {
	va, err := values(a)
	if err != nil {
		return nil, err
	}
	vb, err := values(b)
	if err != nil {
		return nil, err
	}
	out := []KeyChange{}
	for key, v := range va {
		if w, ok := vb[key]; !ok || v != w {
			out = append(out, KeyChange{key, orNull(v), orNull(w)})
		}
	}
	for key, w := range vb {
		if _, ok := va[key]; !ok {
			out = append(out, KeyChange{key, orNull(""), orNull(w)})
		}
	}
	slices.SortFunc(out, func(x, y KeyChange) int { return strings.Compare(x.Key, y.Key) })
	return out, nil
}

func orNull(text string) json.RawMessage {
	if text == "" {
		text = "null"
	}
	return json.RawMessage(text)
}

// values returns the leaves of a recipe by their paths, with the names of stages
// and domains for their numbers: a stage that one run lacks moves no other.
func values(r *config.Resolved) (map[string]string, error) {
	lines, err := r.Explain()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for i, s := range r.Spec.Stages {
		for j, d := range s.Domains {
			names = append(names, fmt.Sprintf("stages[%d].domains[%d].", i, j), "stages."+s.Name+".domains."+d.Name+".")
		}
	}
	for i, s := range r.Spec.Stages {
		names = append(names, fmt.Sprintf("stages[%d].", i), "stages."+s.Name+".")
	}
	short := strings.NewReplacer(names...)
	out := map[string]string{}
	for _, l := range lines {
		if l.Path != "name" {
			out[short.Replace(l.Path)] = l.Value
		}
	}
	return out, nil
}

// stageLine is a line of metrics.jsonl with its stage's name.
type stageLine struct {
	at   SharedStep
	line MetricLine
}

func readMetrics(home string, r *config.Resolved) ([]stageLine, error) {
	raw, err := os.ReadFile(filepath.Join(RunDir(home, r.Spec.Name), MetricsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, grouse.Errorf(grouse.Unavailable, "run %s: %w", r.Spec.Name, err)
	}
	var out []stageLine
	for _, line := range splitLines(raw) {
		var m MetricLine
		if json.Unmarshal(line, &m) == nil && m.Stage >= 0 && m.Stage < len(r.Spec.Stages) {
			out = append(out, stageLine{SharedStep{r.Spec.Stages[m.Stage].Name, m.Step}, m})
		}
	}
	return out, nil
}

// lastShared returns a's last line of the kinds that b has too, and the metrics of both.
func lastShared(a, b []stageLine, kinds ...string) (*SharedStep, []MetricPair) {
	pairs := []MetricPair{}
	for _, la := range slices.Backward(a) {
		if !slices.Contains(kinds, la.line.Event) {
			continue
		}
		for _, lb := range b {
			if lb.line.Event != la.line.Event || lb.at != la.at {
				continue
			}
			ma, mb := la.all(), lb.all()
			both := grouse.Metrics{}
			for _, m := range []grouse.Metrics{ma, mb} {
				for name := range m {
					both[name] = 0
				}
			}
			for _, name := range both.Names() {
				pairs = append(pairs, MetricPair{name, valueOf(ma, name), valueOf(mb, name)})
			}
			return &la.at, pairs
		}
	}
	return nil, pairs
}

func valueOf(m grouse.Metrics, name string) *float64 {
	if v, ok := m[name]; ok {
		return &v
	}
	return nil
}

// all is metrics and times.
func (l *stageLine) all() grouse.Metrics {
	out := grouse.Metrics{}
	for _, m := range []grouse.Metrics{l.line.Metrics, l.line.Times} {
		for name, v := range m {
			out[name] = v
		}
	}
	return out
}
