package track

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
)

// tensorboardParams are what a recipe may say beside `use: tensorboard`.
type tensorboardParams struct {
	Dir     string `json:"dir"`     // the run's events are in DIR/NAME; the run's own folder unless given
	Samples *int   `json:"samples"` // completions shown of a step; 4 unless given, 0 for none
	Every   int    `json:"every"`   // steps between two that completions are shown of; 10 unless given
}

func (p *tensorboardParams) check() error {
	if p.Samples != nil && (*p.Samples < 0 || *p.Samples > 64) {
		return grouse.Errorf(grouse.Invalid, "samples: %d", *p.Samples).WithFix("0 to 64 completions")
	}
	if p.Every < 0 {
		return grouse.Errorf(grouse.Invalid, "every: %d", p.Every).WithFix("1 or more steps")
	}
	return nil
}

// tensorboard writes one event file a run. What was appended after the last
// cursor is cut off when a run goes on: it is written again, with the same bytes.
type tensorboard struct {
	run     Run
	dir     string
	samples int
	every   int64
	source  Source // of samples

	file *os.File
	at   tensorboardState
}

type tensorboardState struct {
	File string `json:"file"`
	Size int64  `json:"size"` // bytes
}

func newTensorboard(run Run, p tensorboardParams, source Source) *tensorboard {
	t := &tensorboard{run: run, dir: filepath.Join(run.Dir, "tensorboard"), samples: 4, every: int64(p.Every), source: source}
	if p.Dir != "" {
		t.dir = filepath.Join(run.path(p.Dir), run.Name)
	}
	if p.Samples != nil {
		t.samples = *p.Samples
	}
	if t.every == 0 {
		t.every = 10
	}
	return t
}

// Open opens the event file, or begins a new one if it is gone.
func (t *tensorboard) Open(_ context.Context, c cursor) (cursor, error) {
	if t.file != nil {
		t.file.Close()
	}
	if c.state(&t.at) {
		f, err := os.OpenFile(filepath.Join(t.dir, filepath.Base(t.at.File)), os.O_RDWR, 0)
		if err == nil {
			if info, err := f.Stat(); err == nil && info.Size() >= t.at.Size && f.Truncate(t.at.Size) == nil {
				t.file = f
				return c, nil
			}
			f.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return c, grouse.Errorf(grouse.Unavailable, "tensorboard: %w", err)
		}
	}
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return c, grouse.Errorf(grouse.Unavailable, "tensorboard: %w", err)
	}
	// Files of one folder are read in the order of their names: a new one comes
	// after those before it.
	now := time.Now()
	name := fmt.Sprintf("events.out.tfevents.%010d.%s", now.Unix(), t.run.Name)
	f, err := os.Create(filepath.Join(t.dir, name))
	if err != nil {
		return c, grouse.Errorf(grouse.Unavailable, "tensorboard: %w", err)
	}
	t.file, t.at = f, tensorboardState{File: name}
	events := appendTFRecord(nil, tbVersion(now))
	events = appendTFRecord(events, tbText(now, 0, "recipe", fenced(t.run.Recipe)))
	state, err := t.write(events)
	return cursor{State: state}, err
}

// Log appends the points.
func (t *tensorboard) Log(_ context.Context, points []Point) (json.RawMessage, error) {
	var events []byte
	for i := range points {
		p := &points[i]
		events = appendTFRecord(events, tbScalars(p))
		if p.Kind != "step" || t.samples == 0 || (p.Step-1)%t.every != 0 {
			continue
		}
		if samples := t.source.Samples(p.Stage, p.Step, t.samples); len(samples) > 0 {
			events = appendTFRecord(events, tbText(p.At, p.Global, "completions", markdown(samples)))
		}
	}
	return t.write(events)
}

// write appends events at the place that the state knows, over what a write that
// failed left there.
func (t *tensorboard) write(events []byte) (json.RawMessage, error) {
	if _, err := t.file.WriteAt(events, t.at.Size); err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "tensorboard: %w", err)
	}
	t.at.Size += int64(len(events))
	return json.Marshal(t.at)
}

// Close closes the file.
func (t *tensorboard) Close(context.Context, bool) error { return t.file.Close() }

// fenced shows text as it is.
func fenced(text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "\n" + strings.TrimRight(text, "\n") + "\n" + fence + "\n"
}

// markdown shows samples one below the other.
func markdown(samples []Sample) string {
	var b strings.Builder
	for _, s := range samples {
		reward := "no opinion"
		if s.Reward != nil {
			reward = fmt.Sprintf("%.4g", *s.Reward)
		}
		fmt.Fprintf(&b, "**%s** · reward %s\n\n%s\n%s\n", strings.ReplaceAll(s.RowID, "*", `\*`), reward, fenced(s.Prompt), fenced(s.Completion))
		if s.Explanation != "" {
			fmt.Fprintf(&b, "%s\n", fenced(s.Explanation))
		}
	}
	return b.String()
}
