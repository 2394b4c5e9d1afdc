package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Task generates rows that a rule can check: column prompt, and what the rule
// needs (answer, instruction_id_list); perhaps completion, a worked example. The
// same spec gives the same rows, in the same order.
type Task struct {
	Name   string
	About  string
	Splits []string
	rows   func(spec grouse.DataSpec) ([]Row, error)
}

// Tasks lists the generators.
var Tasks = []Task{additionTask, arithmeticTask, instructionsTask}

func generate(spec grouse.DataSpec) ([]Row, error) {
	var names []string
	for _, t := range Tasks {
		if t.Name == spec.Task {
			if !slices.Contains(t.Splits, spec.Split) {
				return nil, grouse.Errorf(grouse.Invalid, "data: task %s has no split %q", t.Name, spec.Split).WithFix("splits: %s", strings.Join(t.Splits, ", "))
			}
			return t.rows(spec)
		}
		names = append(names, t.Name)
	}
	return nil, grouse.Errorf(grouse.Invalid, "data: no task %q", spec.Task).WithFix("tasks: %s", strings.Join(names, ", "))
}

// bucket is a problem's place in 0..n-1, by its text alone: splits made by it
// never share a problem, whatever the seed.
func bucket(problem string, n uint64) uint64 {
	sum := sha256.Sum256([]byte("grouse/split/1|" + problem))
	return binary.LittleEndian.Uint64(sum[:8]) % n
}

// byHash puts rows in the order of the hash of prefix and id, so that a limit takes
// problems of all kinds.
func byHash(rows []Row, prefix string) []Row {
	place := make(map[string]uint64, len(rows))
	for _, r := range rows {
		place[r.ID] = bucket(prefix+r.ID, 1<<62)
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(place[a.ID], place[b.ID]) })
	return rows
}

// intParam reads a whole number of spec.Params.
func intParam(spec grouse.DataSpec, key string, dflt, lo, hi int) (int, error) {
	v, ok := spec.Params[key]
	if !ok {
		return dflt, nil
	}
	var n int
	switch v := v.(type) {
	case int:
		n = v
	case int64:
		n = int(v)
	case uint64:
		n = int(v)
	case float64:
		if n = int(v); float64(n) != v {
			return 0, grouse.Errorf(grouse.Invalid, "data: task %s: %s is %v, want a whole number", spec.Task, key, v)
		}
	default:
		return 0, grouse.Errorf(grouse.Invalid, "data: task %s: %s is %v, want a whole number", spec.Task, key, v)
	}
	if n < lo || n > hi {
		return 0, grouse.Errorf(grouse.Invalid, "data: task %s: %s is %d, want %d to %d", spec.Task, key, n, lo, hi)
	}
	return n, nil
}

// onlyParams refuses parameters that the task does not have.
func onlyParams(spec grouse.DataSpec, names ...string) error {
	for key := range spec.Params {
		if !slices.Contains(names, key) {
			return grouse.Errorf(grouse.Invalid, "data: task %s has no parameter %q", spec.Task, key).WithFix("parameters: %s", strings.Join(names, ", "))
		}
	}
	return nil
}
