package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// testLine is what `grouse reward test` says of a line of its file.
type testLine struct {
	Index   int            `json:"index"`
	Value   any            `json:"value"` // a number, null for no opinion; a list of them for a group
	Error   *string        `json:"error"`
	MS      float64        `json:"ms"`
	Detail  map[string]any `json:"detail"`
	Differs bool           `json:"differs,omitempty"` // a second call gave another result

	values  []float64 // with an opinion
	results []rewards.Result
}

func (l *testLine) same(other testLine) bool {
	return other.Error == nil && reflect.DeepEqual(l.results, other.results)
}

// judgeCase judges one line.
func judgeCase(a *app, reward rewards.Reward, i int, k testCase, deadline time.Duration) testLine {
	began := time.Now()
	results, err := rewards.Call(a.ctx, reward, rewards.NewTextGroup(k.prompt, k.completions...), deadline)
	line := testLine{Index: i, MS: float64(time.Since(began).Microseconds()) / 1000, Detail: map[string]any{}, results: results}
	if err != nil {
		text := err.Error()
		if fix := grouse.FixOf(err); fix != "" {
			text += " (" + fix + ")"
		}
		line.Error, line.results = &text, nil
		line.Detail["outcome"] = rewards.OutcomeOf(err)
		return line
	}
	var list []any
	var details []any
	for _, r := range results {
		d := map[string]any{}
		if r.Explanation != "" {
			d["explanation"] = r.Explanation
		}
		if r.Correct != nil {
			d["correct"] = *r.Correct
		}
		if len(r.Numbers) > 0 {
			d["numbers"] = r.Numbers
		}
		details = append(details, d)
		if r.NoOpinion {
			list = append(list, nil)
			continue
		}
		list = append(list, r.Value)
		line.values = append(line.values, r.Value)
	}
	if len(list) == 1 {
		line.Value, line.Detail = list[0], details[0].(map[string]any)
	} else {
		line.Value, line.Detail["samples"] = list, details
	}
	return line
}

// print shows a line to people.
func (l *testLine) print(a *app) {
	what := fmt.Sprint(l.Value)
	switch {
	case l.Error != nil:
		what = fmt.Sprintf("%s: %s", l.Detail["outcome"], *l.Error)
	case l.Value == nil:
		what = "no opinion"
	}
	if e, ok := l.Detail["explanation"]; ok {
		what += fmt.Sprintf("  %v", e)
	}
	if l.Differs {
		what += "  (another result the second time)"
	}
	fmt.Fprintf(a.stdout, "%4d  %s\n", l.Index, printable(what))
}

// testReport sums the lines up.
type testReport struct {
	entry          rewards.Entry
	lines          []testLine
	groups         map[string][]float64
	failed         map[string]bool // groups
	errors, differ int
}

func (r *testReport) add(k testCase, l testLine) {
	if r.groups == nil {
		r.groups, r.failed = map[string][]float64{}, map[string]bool{}
	}
	r.lines = append(r.lines, l)
	if l.Error != nil {
		r.errors++
		r.failed[k.group] = true
	}
	if l.Differs {
		r.differ++
	}
	r.groups[k.group] = append(r.groups[k.group], l.values...)
}

// bins of the histogram, and the widest bar.
const (
	bins   = 10
	widest = 40
)

func (r *testReport) print(a *app) {
	var values []float64
	for _, l := range r.lines {
		values = append(values, l.values...)
	}
	fmt.Fprintf(a.stdout, "\n%s: %d lines, %d values, %d errors\n", r.entry.Name, len(r.lines), len(values), r.errors)
	if len(values) > 0 {
		fmt.Fprint(a.stdout, histogram(values))
	}
	slowest := slices.Clone(r.lines)
	slices.SortStableFunc(slowest, func(x, y testLine) int { return int(1000 * (y.MS - x.MS)) })
	fmt.Fprintf(a.stdout, "slowest    ")
	for _, l := range slowest[:min(3, len(slowest))] {
		fmt.Fprintf(a.stdout, " %.3g ms (line %d)", l.MS, l.Index)
	}
	kinds := map[string]int{}
	for _, l := range r.lines {
		if l.Error != nil {
			kinds[fmt.Sprint(l.Detail["outcome"])]++
		}
	}
	fmt.Fprintln(a.stdout)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(a.stdout, "errors      %s: %d\n", kind, kinds[kind])
	}
	if r.differ > 0 {
		fmt.Fprintf(a.stdout, "determinism %d lines had another result the second time: a replay of the run would not come out the same\n", r.differ)
	} else {
		fmt.Fprintln(a.stdout, "determinism the same results every time")
	}
	flat, several := 0, 0
	for name, values := range r.groups {
		if len(values) > 1 && !r.failed[name] {
			several++
			if grouse.Flat(values) {
				flat++
			}
		}
	}
	if several > 0 {
		fmt.Fprintf(a.stdout, "groups      %d of %d without variance: nothing to learn from them\n", flat, several)
	}
}

// histogram draws values in bins of the same width; a few distinct values have one
// each.
func histogram(values []float64) string {
	lo, hi := slices.Min(values), slices.Max(values)
	counts := map[float64]int{}
	for _, v := range values {
		counts[v]++
	}
	var b strings.Builder
	bar := func(label string, n int) {
		fmt.Fprintf(&b, "  %-18s %-*s %d\n", label, widest, strings.Repeat("#", (n*widest+len(values)-1)/len(values)), n)
	}
	if len(counts) <= bins {
		for _, v := range slices.Sorted(maps.Keys(counts)) {
			bar(fmt.Sprintf("%.4g", v), counts[v])
		}
		return b.String()
	}
	n := make([]int, bins)
	for _, v := range values {
		n[min(int(float64(bins)*(v-lo)/(hi-lo)), bins-1)]++
	}
	for i, k := range n {
		w := (hi - lo) / bins
		bar(fmt.Sprintf("%.3g to %.3g", lo+float64(i)*w, lo+float64(i+1)*w), k)
	}
	return b.String()
}
