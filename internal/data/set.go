package data

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Row is one row of a data set.
type Row struct {
	ID      string         // column "id" or "row_id" if it is a string or a number, else the row's index
	Where   string         // file and line, for errors
	Columns map[string]any // as encoding/json decodes: string, float64, bool, nil, []any, map[string]any
}

// Set is the rows of one data source, in the source's order.
type Set struct {
	Rows    []Row
	SHA256  string  // of the rows' canonical JSON
	Skipped []error // bad rows, if they are skipped
}

// Options say how a source is read.
type Options struct {
	Base  string // folder that relative paths start from: the recipe's
	OnBad string // "skip": leave bad rows out; else the first is an error
	// Check, if not nil, says what is wrong with a row. It is called for each row
	// in order, and the rows it has nothing against are Set.Rows.
	Check func(Row) error
	// Hub returns the table files of a hub data set's split, in order.
	Hub func(name, config, split string) ([]string, error)
}

// Load reads the rows that spec names.
func Load(spec grouse.DataSpec, o Options) (*Set, error) {
	s := &Set{}
	var err error
	switch {
	case spec.Task != "":
		s.Rows, err = generate(spec)
	case spec.Path != "":
		path := spec.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(o.Base, path)
		}
		err = s.readPath(path, o)
	case spec.Hub != "" && o.Hub != nil:
		var files []string
		if files, err = o.Hub(spec.Hub, spec.Config, spec.Split); err == nil {
			for _, f := range files {
				if err = s.readFile(f, o); err != nil {
					break
				}
			}
		}
	default:
		err = grouse.Errorf(grouse.Invalid, "data: no path, hub or task is given").WithFix("name one: data: {path: train.jsonl}")
	}
	if err != nil {
		return nil, err
	}
	if err := s.finish(spec, o); err != nil {
		return nil, err
	}
	return s, nil
}

// bad deals with a row that cannot be used.
func (s *Set) bad(o Options, err error) error {
	if o.OnBad == "skip" {
		s.Skipped = append(s.Skipped, err)
		return nil
	}
	return grouse.Errorf(grouse.Invalid, "%w", err).WithFix("mend the row, or set on_bad_row: skip")
}

// finish checks, limits, names and hashes the rows.
func (s *Set) finish(spec grouse.DataSpec, o Options) error {
	rows := s.Rows[:0]
	seen := map[string]string{}
	for i, r := range s.Rows {
		if spec.Limit > 0 && len(rows) == spec.Limit {
			break
		}
		if r.ID == "" {
			r.ID = rowID(r.Columns, i)
		}
		answer(r.Columns)
		var err error
		if at, twice := seen[r.ID]; twice {
			err = fmt.Errorf("row id %q is also that of %s", r.ID, at)
		}
		if err == nil && o.Check != nil {
			err = o.Check(r) // last: a row that passes it is used
		}
		if err != nil {
			if err := s.bad(o, fmt.Errorf("%s: %w", r.Where, err)); err != nil {
				return err
			}
			continue
		}
		seen[r.ID] = r.Where
		rows = append(rows, r)
	}
	s.Rows = rows
	if len(rows) == 0 {
		return grouse.Errorf(grouse.Invalid, "data: no usable row (%d bad ones)", len(s.Skipped))
	}
	h := sha256.New()
	enc := json.NewEncoder(h) // object keys are sorted
	for _, r := range rows {
		if err := enc.Encode([]any{r.ID, r.Columns}); err != nil {
			return grouse.Errorf(grouse.Invalid, "%s: %w", r.Where, err)
		}
	}
	s.SHA256 = hex.EncodeToString(h.Sum(nil))
	if spec.SHA256 != "" && spec.SHA256 != s.SHA256 {
		return grouse.Errorf(grouse.Invalid, "data: the rows have changed since the run began (sha256 %.12s…, now %.12s…)", spec.SHA256, s.SHA256).
			WithFix("put the old rows back, or start a new run")
	}
	return nil
}

func rowID(columns map[string]any, index int) string {
	for _, key := range []string{"id", "row_id", "task_id"} {
		switch v := columns[key].(type) {
		case string:
			if v != "" {
				return v
			}
		case float64:
			return fmt.Sprintf("%v", v)
		}
	}
	return fmt.Sprintf("%d", index)
}

// answer gives a row the column `answer` that rewards read, if it has none, from
// where verl and others keep it: reward_model.ground_truth, ground_truth, label.
func answer(columns map[string]any) {
	if _, ok := columns["answer"]; ok {
		return
	}
	if m, ok := columns["reward_model"].(map[string]any); ok {
		if v, ok := m["ground_truth"]; ok {
			columns["answer"] = v
			return
		}
	}
	for _, key := range []string{"ground_truth", "label"} {
		if v, ok := columns[key]; ok {
			columns["answer"] = v
			return
		}
	}
}

// readPath reads a file, or every data file of a folder in name order.
func (s *Set) readPath(path string, o Options) error {
	info, err := os.Stat(path)
	if err != nil {
		return grouse.Errorf(grouse.NotFound, "data: %w", err).WithFix("paths are relative to the recipe's folder")
	}
	if !info.IsDir() {
		return s.readFile(path, o)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "data: %w", err)
	}
	n := 0
	for _, e := range entries {
		if !e.IsDir() && slices.Contains(extensions, strings.ToLower(filepath.Ext(e.Name()))) {
			n++
			if err := s.readFile(filepath.Join(path, e.Name()), o); err != nil {
				return err
			}
		}
	}
	if n == 0 {
		return grouse.Errorf(grouse.Invalid, "data: folder %s has no %s file", path, strings.Join(extensions, ", "))
	}
	return nil
}
