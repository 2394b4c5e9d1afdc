package rubric

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Kinds of an Item.
const (
	Binary = "binary" // met or not: a mark of 0 or 1
	Scale  = "scale"  // a mark from 0 to 1
	Levels = "levels" // one of the levels, the first worst: marked 0 to 1 in equal steps
)

// Item is one criterion.
type Item struct {
	ID     string   `json:"id"`
	Text   string   `json:"text"`
	Weight float64  `json:"weight"`           // not 0; negative: a penalty
	Kind   string   `json:"kind"`             // binary | scale | levels
	Levels []string `json:"levels,omitempty"` // descriptions, from worst to best
}

// maxItems bounds a rubric: a judge loses count of more.
const maxItems = 50

// Validate checks a rubric.
func Validate(items []Item) error {
	bad := func(format string, args ...any) error {
		return grouse.Errorf(grouse.Invalid, "rubric: %s", fmt.Sprintf(format, args...)).
			WithFix("write items as [{id: correct, text: ..., weight: 1, kind: binary}], at least one with a positive weight")
	}
	if len(items) == 0 || len(items) > maxItems {
		return bad("%d items, want 1 to %d", len(items), maxItems)
	}
	positive, seen := false, map[string]bool{}
	for _, it := range items {
		switch {
		case it.ID == "" || seen[it.ID]:
			return bad("id %q is empty or there twice", it.ID)
		case strings.TrimSpace(it.Text) == "":
			return bad("item %s has no text", it.ID)
		case it.Weight == 0 || math.IsNaN(it.Weight) || math.IsInf(it.Weight, 0):
			return bad("item %s has weight %v", it.ID, it.Weight)
		case it.Kind != Binary && it.Kind != Scale && it.Kind != Levels:
			return bad("item %s has kind %q", it.ID, it.Kind)
		case (it.Kind == Levels) != (len(it.Levels) >= 2):
			return bad("item %s of kind %s has %d levels", it.ID, it.Kind, len(it.Levels))
		}
		seen[it.ID] = true
		positive = positive || it.Weight > 0
	}
	if !positive {
		return bad("no item has a positive weight")
	}
	return nil
}

// Score weighs marks, from 0 to 1.
func Score(items []Item, marks map[string]float64) float64 {
	sum, positive := 0.0, 0.0
	for _, it := range items {
		sum += float64(it.Weight * marks[it.ID])
		positive += max(it.Weight, 0)
	}
	return min(max(sum/positive, 0), 1)
}

// Parse reads a rubric from a column or a recipe: a list of items, of which weight
// defaults to 1, kind to binary and id to the place; or BiGGen-Bench's object
// {criteria, levels: {"1": ..., "5": ...}}.
func Parse(v any) ([]Item, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "rubric: %w", err)
	}
	if s, ok := v.(string); ok {
		data = []byte(s)
	}
	var biggen struct {
		Criteria string            `json:"criteria"`
		Levels   map[string]string `json:"levels"`
	}
	if json.Unmarshal(data, &biggen) == nil && biggen.Criteria != "" {
		it := Item{ID: "level", Text: biggen.Criteria, Weight: 1, Kind: Levels}
		for n := 1; n <= len(biggen.Levels); n++ {
			text, ok := biggen.Levels[strconv.Itoa(n)]
			if !ok {
				return nil, grouse.Errorf(grouse.Invalid, "rubric: level %d of %d is missing", n, len(biggen.Levels)).WithFix("number the levels from 1, the worst")
			}
			it.Levels = append(it.Levels, text)
		}
		items := []Item{it}
		return items, Validate(items)
	}
	var raw []struct {
		Item
		Weight *float64 `json:"weight"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "rubric: %w", err).WithFix("write a list of items, or {criteria, levels}")
	}
	var items []Item
	for i, r := range raw {
		it := r.Item
		it.Weight = 1
		if r.Weight != nil {
			it.Weight = *r.Weight
		}
		if it.ID == "" {
			it.ID = strconv.Itoa(i + 1)
		}
		if it.Kind == "" {
			it.Kind = Binary
			if len(it.Levels) > 0 {
				it.Kind = Levels
			}
		}
		items = append(items, it)
	}
	return items, Validate(items)
}

// parseReply reads a judge's reply: JSON, bare or in a fence or after other words,
// {"marks": [{"id": ..., "mark": ..., "reason": ...}]} with every item once. A mark of
// levels is the level's number, from 1.
func parseReply(reply string, items []Item) (marks map[string]float64, reasons map[string]string, err error) {
	reply, done := rewards.AfterThinking(reply)
	if !done {
		return nil, nil, fmt.Errorf("the reply ends in the middle of the judge's thinking")
	}
	at, end := strings.Index(reply, "{"), strings.LastIndex(reply, "}")
	if at < 0 || end < at {
		return nil, nil, fmt.Errorf("no JSON in the reply")
	}
	var r struct {
		Marks []struct {
			ID     string   `json:"id"`
			Mark   *float64 `json:"mark"`
			Reason string   `json:"reason"`
		} `json:"marks"`
	}
	if err := json.Unmarshal([]byte(reply[at:end+1]), &r); err != nil {
		return nil, nil, fmt.Errorf("the reply's JSON: %w", err)
	}
	marks, reasons = map[string]float64{}, map[string]string{}
	for _, m := range r.Marks {
		i := slices.IndexFunc(items, func(it Item) bool { return it.ID == m.ID })
		if i < 0 || m.Mark == nil {
			return nil, nil, fmt.Errorf("a mark for %q, which is no item, or without a number", m.ID)
		}
		if _, twice := marks[m.ID]; twice {
			return nil, nil, fmt.Errorf("two marks for %q", m.ID)
		}
		v, it := *m.Mark, items[i]
		switch {
		case it.Kind == Levels:
			if v != math.Trunc(v) || v < 1 || v > float64(len(it.Levels)) {
				return nil, nil, fmt.Errorf("item %s: level %v of %d", it.ID, v, len(it.Levels))
			}
			v = (v - 1) / float64(len(it.Levels)-1)
		case !(v >= 0 && v <= 1) || (it.Kind == Binary && v != 0 && v != 1):
			return nil, nil, fmt.Errorf("item %s: mark %v", it.ID, v)
		}
		marks[m.ID], reasons[m.ID] = v, m.Reason
	}
	if len(marks) != len(items) {
		return nil, nil, fmt.Errorf("%d marks for %d items", len(marks), len(items))
	}
	return marks, reasons, nil
}

// vote joins the marks of several judges: the majority of a binary item (a tie is not
// met), the median of the others (the mean of the two in the middle).
func vote(items []Item, ballots []map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for _, it := range items {
		var v []float64
		for _, b := range ballots {
			v = append(v, b[it.ID])
		}
		slices.Sort(v)
		n := len(v)
		switch {
		case it.Kind == Binary:
			out[it.ID] = v[(n-1)/2]
		case n%2 == 1:
			out[it.ID] = v[n/2]
		default:
			out[it.ID] = (v[n/2-1] + v[n/2]) / 2
		}
	}
	return out
}
