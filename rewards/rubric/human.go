package rubric

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Human is a judge who is a person: questions wait as files of a folder until
// somebody answers them (`grouse judge`, or any program that calls Answer). Question
// and answer are files, so that they outlive both sides.
type Human struct {
	dir  string
	poll time.Duration
}

// NewHuman returns the judge of a folder, which is made if it does not exist.
func NewHuman(dir string) (*Human, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "judge: %w", err).WithFix("set dir to a folder that can be written")
	}
	return &Human{dir: dir, poll: 200 * time.Millisecond}, nil
}

// Waiting is a question that a person is asked.
type Waiting struct {
	ID     string    `json:"id"`
	Asked  time.Time `json:"asked"`
	System string    `json:"system"`
	User   string    `json:"user"` // task, reference, answer and rubric
	Items  []Item    `json:"items"`
}

const (
	questionEnd = ".question.json"
	answerEnd   = ".answer.json"
)

// Name identifies the judge.
func (h *Human) Name() string { return "human" }

// Ask puts the question into the folder and waits for its answer, as long as ctx
// allows. The question stays there if nobody comes: the next call waits for the same.
func (h *Human) Ask(ctx context.Context, q Question) (Reply, error) {
	data, err := json.Marshal([]any{q.System, q.User, q.Seed})
	if err != nil {
		return Reply{}, rewards.Fail(err)
	}
	sum := sha256.Sum256(data)
	w := Waiting{ID: hex.EncodeToString(sum[:8]), Asked: time.Now().UTC().Truncate(time.Second), System: q.System, User: q.User, Items: q.Items}
	question, answer := filepath.Join(h.dir, w.ID+questionEnd), filepath.Join(h.dir, w.ID+answerEnd)
	for first := true; ; first = false {
		data, err := os.ReadFile(answer)
		if err == nil {
			return Reply{Text: string(data)}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return Reply{}, rewards.TryAgain(fmt.Errorf("judge: %w", err))
		}
		if _, err := os.Stat(question); first && errors.Is(err, fs.ErrNotExist) {
			if err := writeWhole(question, w); err != nil {
				return Reply{}, rewards.TryAgain(fmt.Errorf("judge: %w", err))
			}
		}
		select {
		case <-time.After(h.poll):
		case <-ctx.Done():
			return Reply{}, fmt.Errorf("nobody answered question %s in %s: %w", w.ID, h.dir, ctx.Err())
		}
	}
}

// Open lists the questions of a folder that nobody has answered, the oldest first.
func Open(dir string) ([]Waiting, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+questionEnd))
	if err != nil {
		return nil, err
	}
	var out []Waiting
	for _, p := range paths {
		if _, err := os.Stat(strings.TrimSuffix(p, questionEnd) + answerEnd); err == nil {
			continue
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		var w Waiting
		if err := json.Unmarshal(data, &w); err != nil {
			return nil, grouse.Errorf(grouse.Corrupt, "%s: %w", p, err).WithFix("remove the file: the question is asked again")
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b Waiting) int { return cmp.Or(a.Asked.Compare(b.Asked), strings.Compare(a.ID, b.ID)) })
	return out, nil
}

// Answer stores the marks that a person gave to the items of a question: as parseReply
// reads them, a level as its number from 1. An answer that cannot be read is Invalid;
// one that is there already stays.
func Answer(dir string, w Waiting, marks map[string]float64, reason string) error {
	if len(w.Items) == 0 {
		return grouse.Errorf(grouse.Invalid, "question %q has no items", w.ID)
	}
	type mark struct {
		ID     string  `json:"id"`
		Mark   float64 `json:"mark"`
		Reason string  `json:"reason,omitempty"`
	}
	var reply struct {
		Marks []mark `json:"marks"`
	}
	for _, it := range w.Items {
		if m, ok := marks[it.ID]; ok {
			reply.Marks = append(reply.Marks, mark{it.ID, m, reason})
		}
	}
	text, err := json.Marshal(reply)
	if err != nil {
		return grouse.Errorf(grouse.Invalid, "marks: %w", err)
	}
	if _, _, err := parseReply(string(text), w.Items); err != nil {
		return grouse.Errorf(grouse.Invalid, "%w", err).WithFix("give every item a mark: binary 0 or 1, scale 0 to 1, levels the number of the level")
	}
	path := filepath.Join(dir, w.ID+answerEnd)
	if _, err := os.Stat(path); err == nil {
		return grouse.Errorf(grouse.Invalid, "question %s is answered already", w.ID)
	}
	return writeWhole(path, reply)
}

// writeWhole writes JSON whole or not at all.
func writeWhole(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return folder(filepath.Dir(path)).Put(filepath.Base(path), string(data))
}

var _ Judge = (*Human)(nil)
