package track

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/grouse-rl/grouse"
)

// mlflowFiles writes MLflow's file store: ROOT/EXPERIMENT/RUN with a file per
// parameter, tag and metric. A run's folder is made anew when the run goes on: it
// has every value once, whatever died when.
type mlflowFiles struct {
	run    Run
	params mlflowParams
	root   string

	dir   string // of the run
	info  mlflowInfo
	lines map[string]*bytes.Buffer // of the metrics, by name, not yet written
	names []string                 // of lines, in order
}

func newMLflowFiles(run Run, p mlflowParams) *mlflowFiles {
	m := &mlflowFiles{run: run, params: p, root: filepath.Join(run.Dir, "mlruns")}
	if !p.remote() && p.URI != "" {
		m.root = run.path(strings.TrimPrefix(strings.TrimPrefix(p.URI, "file://"), "file:"))
	}
	return m
}

// mlflowInfo is a run's meta.yaml.
type mlflowInfo struct {
	experiment string
	began      int64 // Unix ms
	ended      int64 // 0: it has not
	status     int   // 1 running, 3 finished, 5 killed
}

// Open makes experiment and run.
func (m *mlflowFiles) Open(context.Context, cursor) (cursor, error) {
	if err := m.open(); err != nil {
		return cursor{}, grouse.Errorf(grouse.Unavailable, "mlflow: %w", err)
	}
	return cursor{}, nil
}

func (m *mlflowFiles) open() error {
	experiment, err := m.experiment()
	if err != nil {
		return err
	}
	m.dir = filepath.Join(m.root, experiment, m.run.ID)
	if err := os.RemoveAll(m.dir); err != nil {
		return err
	}
	for _, sub := range []string{"artifacts", "metrics", "params", "tags"} {
		if err := os.MkdirAll(filepath.Join(m.dir, sub), 0o755); err != nil {
			return err
		}
	}
	m.info, m.lines, m.names = mlflowInfo{experiment: experiment, status: 1}, map[string]*bytes.Buffer{}, nil
	list, err := mlflowRecipe(&m.run)
	if err != nil {
		return err
	}
	for _, kv := range list {
		if err := writeBelow(filepath.Join(m.dir, "params"), kv[0], kv[1]); err != nil {
			return err
		}
	}
	tags := [][2]string{{"mlflow.runName", m.run.Name}, {"mlflow.source.type", "LOCAL"}, {"mlflow.source.name", "grouse"}, {"mlflow.user", "grouse"}, {mlflowIDTag, m.run.ID}}
	if d := m.run.Spec.Description; d != "" {
		tags = append(tags, [2]string{"mlflow.note.content", d})
	}
	for _, kv := range tags {
		if err := writeBelow(filepath.Join(m.dir, "tags"), kv[0], kv[1]); err != nil {
			return err
		}
	}
	return nil
}

func writeBelow(dir, name, text string) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// experiment returns the id of the experiment of the name, and makes it if there
// is none. Its id comes from its name: two that make it at once make the same.
func (m *mlflowFiles) experiment() (string, error) {
	name := m.params.experiment()
	entries, err := os.ReadDir(m.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(m.root, e.Name(), "meta.yaml"))
		if err != nil {
			continue // no experiment
		}
		for _, line := range strings.Split(string(raw), "\n") {
			if v, ok := strings.CutPrefix(line, "name: "); ok && strings.Trim(v, `'"`) == name {
				return e.Name(), nil
			}
		}
	}
	sum := sha256.Sum256([]byte(name))
	id := strconv.FormatUint(binary.BigEndian.Uint64(sum[:])>>4, 10)
	now := time.Now().UnixMilli()
	return id, writeBelow(filepath.Join(m.root, id), "meta.yaml", yamlBlock([][2]any{
		{"artifact_location", m.uri(id)}, {"creation_time", now}, {"experiment_id", id}, {"last_update_time", now}, {"lifecycle_stage", "active"}, {"name", name},
	}))
}

// uri is the address of a folder of the store.
func (m *mlflowFiles) uri(parts ...string) string {
	abs, err := filepath.Abs(filepath.Join(append([]string{m.root}, parts...)...))
	if err != nil {
		abs = m.root
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String()
}

// yamlBlock writes values as JSON, which YAML reads.
func yamlBlock(list [][2]any) string {
	var b strings.Builder
	for _, kv := range list {
		raw, err := json.Marshal(kv[1])
		if err != nil {
			raw = []byte("null") // numbers and texts never are
		}
		fmt.Fprintf(&b, "%s: %s\n", kv[0], raw)
	}
	return b.String()
}

func (m *mlflowFiles) writeInfo() error {
	i := m.info
	var end any
	if i.ended > 0 {
		end = i.ended
	}
	return writeBelow(m.dir, "meta.yaml", yamlBlock([][2]any{
		{"artifact_uri", m.uri(i.experiment, m.run.ID, "artifacts")}, {"end_time", end}, {"entry_point_name", ""}, {"experiment_id", i.experiment}, {"lifecycle_stage", "active"},
		{"run_id", m.run.ID}, {"run_name", m.run.Name}, {"source_name", ""}, {"source_type", 4}, {"source_version", ""}, {"start_time", i.began}, {"status", i.status},
		{"tags", []any{}}, {"user_id", "grouse"},
	}))
}

// Log appends the points' metrics.
func (m *mlflowFiles) Log(_ context.Context, points []Point) (json.RawMessage, error) {
	if m.info.began == 0 {
		m.info.began = points[0].At.UnixMilli()
		if err := m.writeInfo(); err != nil {
			return nil, grouse.Errorf(grouse.Unavailable, "mlflow: %w", err)
		}
	}
	for i := range points {
		p := &points[i]
		m.info.ended = p.At.UnixMilli()
		p.each(func(name string, v float64) {
			name = mlflowName(name)
			if m.lines[name] == nil {
				m.lines[name] = &bytes.Buffer{}
				m.names = append(m.names, name)
			}
			fmt.Fprintf(m.lines[name], "%d %s %d\n", p.At.UnixMilli(), wandbNumber(v), p.Global) // Python's float reads NaN and Infinity
		})
	}
	for _, name := range m.names {
		if err := m.append(name, m.lines[name]); err != nil {
			return nil, grouse.Errorf(grouse.Unavailable, "mlflow: %w", err)
		}
	}
	m.names = nil
	clear(m.lines)
	return nil, nil
}

// append adds lines to a metric's file. The file store cannot have a metric whose
// name is also the folder of others (kl beside kl/math): it is kl_all there.
func (m *mlflowFiles) append(name string, lines *bytes.Buffer) error {
	path := filepath.Join(m.dir, "metrics", filepath.FromSlash(name))
	for dir := filepath.Dir(path); dir != filepath.Join(m.dir, "metrics"); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			if err := os.Rename(dir, dir+"_all"); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if errors.Is(err, syscall.EISDIR) {
		f, err = os.OpenFile(path+"_all", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(lines.Bytes())
	return errors.Join(err, f.Close())
}

// Close says how the run ended, or that it waits.
func (m *mlflowFiles) Close(_ context.Context, finished bool) error {
	if m.info.began == 0 {
		return nil
	}
	if m.info.status = 5; finished {
		m.info.status = 3
	}
	if err := m.writeInfo(); err != nil {
		return grouse.Errorf(grouse.Unavailable, "mlflow: %w", err)
	}
	return nil
}
