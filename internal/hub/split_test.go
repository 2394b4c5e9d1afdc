package hub_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/hub"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct{ files, config, split, want, err string }{
		{"data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet data/test-00000-of-00001.parquet", "", "", "data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet", ""},
		{"data/train-00000-of-00001.parquet data/test-00000-of-00001.parquet README.md dataset_infos.json", "", "test", "data/test-00000-of-00001.parquet", ""},
		{"main/train-0.parquet socratic/train-0.parquet", "main", "train", "main/train-0.parquet", ""},
		{"main/train-0.parquet socratic/train-0.parquet", "", "train", "", "several configurations"},
		{"default/train/0000.parquet default/test/0000.parquet", "default", "test", "default/test/0000.parquet", ""},
		{"train.jsonl training_notes.json trainer.json", "", "", "train.jsonl", ""},
		{"train.jsonl", "", "validation", "", `no split "validation"`},
		{"main/train.jsonl", "other", "train", "", `of configuration "other"`},
	} {
		s := &hub.Snapshot{Repo: "org/data", Files: map[string]string{}, Dir: "d"}
		for _, f := range strings.Fields(c.files) {
			s.Files[f] = "x"
		}
		got, err := s.Split(c.config, c.split)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || grouse.FixOf(err) == "" {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		var want []string
		for _, f := range strings.Fields(c.want) {
			want = append(want, filepath.Join("d", f))
		}
		if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%+v: got %v, %v", c, got, err)
		}
	}
}
