package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/worker"
)

// runLine is a run in the list, from the ends of its files: a ledger is not
// read for it.
type runLine struct {
	Run    string   `json:"run"`
	Recipe string   `json:"recipe"`
	State  string   `json:"state"`
	Stage  string   `json:"stage"`
	Step   int64    `json:"step"`
	Steps  int      `json:"steps"`
	Reward *float64 `json:"reward"`
	At     int64    `json:"at"` // last change, Unix seconds
	Error  string   `json:"error,omitempty"`
}

// runs lists the runs, last changed first.
func (s *server) runs(*http.Request) (any, error) {
	entries, err := os.ReadDir(filepath.Join(s.home, "runs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, grouse.Errorf(grouse.Unavailable, "list runs: %w", err)
	}
	out := []runLine{}
	for _, e := range entries {
		if e.IsDir() && config.CheckName(e.Name()) == nil {
			out = append(out, s.line(e.Name()))
		}
	}
	slices.SortStableFunc(out, func(a, b runLine) int { return int(b.At - a.At) })
	return out, nil
}

func (s *server) line(name string) runLine {
	dir := worker.RunDir(s.home, name)
	l := runLine{Run: name, State: worker.RunState(dir)}
	r, err := worker.LoadRecipe(s.home, name)
	if err != nil {
		l.Error = err.Error()
		return l
	}
	l.Recipe = r.Spec.Recipe
	for _, m := range tail(filepath.Join(dir, worker.MetricsFile), &l.At) {
		if m.Event == "eval" || m.Stage < 0 || m.Stage >= len(r.Spec.Stages) {
			continue
		}
		l.Stage, l.Step, l.Steps, l.Reward = r.Spec.Stages[m.Stage].Name, m.Step, r.Spec.Stages[m.Stage].Steps, nil
		if v, ok := m.Metrics["reward"]; ok {
			l.Reward = &v
		}
	}
	return l
}

// tail returns the last lines of a metrics file and the time of its last change.
func tail(path string, at *int64) []worker.MetricLine {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	*at = info.ModTime().Unix()
	const size = 16 << 10
	from := max(0, info.Size()-size)
	raw := make([]byte, info.Size()-from)
	if n, err := f.ReadAt(raw, from); err != nil && !errors.Is(err, io.EOF) {
		return nil
	} else {
		raw = raw[:n]
	}
	lines := bytes.Split(raw, []byte("\n"))
	if from > 0 {
		lines = lines[1:] // cut in the middle
	}
	var out []worker.MetricLine
	for _, line := range lines {
		var m worker.MetricLine
		if json.Unmarshal(line, &m) == nil && m.Event != "" {
			out = append(out, m)
		}
	}
	return out
}

// runPage is what a run's page shows besides its curves.
type runPage struct {
	Run    string         `json:"run"`
	State  string         `json:"state"`
	Folder string         `json:"folder"`
	Spec   grouse.RunSpec `json:"spec"`
	Recipe string         `json:"recipe"` // the resolved recipe, YAML
	Done   any            `json:"done"`   // the done line, null while unfinished
}

// name returns the run that a request is about.
func (s *server) name(r *http.Request) (string, error) {
	name := r.PathValue("run")
	if err := config.CheckName(name); err != nil {
		return "", err
	}
	if _, err := os.Stat(worker.RunDir(s.home, name)); err != nil {
		return "", grouse.Errorf(grouse.NotFound, "no run %q", name)
	}
	return name, nil
}

func (s *server) run(r *http.Request) (any, error) {
	name, err := s.name(r)
	if err != nil {
		return nil, err
	}
	dir := worker.RunDir(s.home, name)
	resolved, err := worker.LoadRecipe(s.home, name)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, worker.RecipeFile))
	if err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "run %s: %w", name, err)
	}
	page := runPage{Run: name, State: worker.RunState(dir), Folder: dir, Spec: resolved.Spec, Recipe: string(text)}
	if raw, err := os.ReadFile(filepath.Join(dir, worker.DoneFile)); err == nil {
		if err := json.Unmarshal(raw, &page.Done); err != nil {
			return nil, grouse.Errorf(grouse.Corrupt, "run %s: %s: %w", name, worker.DoneFile, err)
		}
	}
	return page, nil
}

// linesAnswer is a stretch of a file of JSON lines.
type linesAnswer struct {
	Next  int64             `json:"next"` // where the next request begins
	Lines []json.RawMessage `json:"lines"`
}

// lines returns the whole lines of metrics or events from byte ?from on, some
// megabytes at most: the page asks again from Next.
func (s *server) lines(r *http.Request) (any, error) {
	name, err := s.name(r)
	if err != nil {
		return nil, err
	}
	file := map[string]string{"metrics": worker.MetricsFile, "events": worker.EventsFile}[r.PathValue("file")]
	if file == "" {
		return nil, grouse.Errorf(grouse.NotFound, "no file %q: metrics or events", r.PathValue("file"))
	}
	from, err := strconv.ParseInt(r.FormValue("from"), 10, 64)
	if r.FormValue("from") == "" {
		from, err = 0, nil
	}
	if err != nil || from < 0 {
		return nil, grouse.Errorf(grouse.Invalid, "from: %q is not a place in a file", r.FormValue("from"))
	}
	out := linesAnswer{Next: from, Lines: []json.RawMessage{}}
	f, err := os.Open(filepath.Join(worker.RunDir(s.home, name), file))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "run %s: %w", name, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.NewSectionReader(f, from, 4<<20))
	if err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "run %s: %w", name, err)
	}
	for {
		line, rest, whole := bytes.Cut(raw, []byte("\n"))
		if !whole {
			return out, nil
		}
		out.Next += int64(len(line)) + 1
		if json.Valid(line) {
			out.Lines = append(out.Lines, line)
		}
		raw = rest
	}
}

// stepName is a step that has rollouts.
type stepName struct {
	Stage int   `json:"stage"`
	Step  int64 `json:"step"`
}

// steps lists the archived steps in order.
func (s *server) steps(r *http.Request) (any, error) {
	name, err := s.name(r)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(worker.RunDir(s.home, name), worker.RolloutsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, grouse.Errorf(grouse.Unavailable, "run %s: %w", name, err)
	}
	out := []stepName{}
	for _, e := range entries {
		if stage, step, ok := worker.ParseRolloutsFile(e.Name()); ok {
			out = append(out, stepName{stage, step})
		}
	}
	slices.SortFunc(out, func(a, b stepName) int {
		if a.Stage != b.Stage {
			return a.Stage - b.Stage
		}
		return int(a.Step - b.Step)
	})
	return out, nil
}

// number reads a path value.
func number(r *http.Request, key string) (int64, error) {
	n, err := strconv.ParseInt(r.PathValue(key), 10, 63)
	if err != nil || n < 0 || strings.HasPrefix(r.PathValue(key), "+") {
		return 0, grouse.Errorf(grouse.Invalid, "%s: %q is not a number", key, r.PathValue(key))
	}
	return n, nil
}
