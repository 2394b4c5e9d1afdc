package data_test

import (
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/data"
)

// The splits of the addition task share no problem, cover all 10,000, and at
// most 5% are for supervised fine-tuning.
func TestAdditionSplits(t *testing.T) {
	seen := map[string]string{}
	size := map[string]int{}
	for _, split := range []string{"sft", "rl", "eval"} {
		set, err := data.Load(grouse.DataSpec{Task: "addition", Split: split}, data.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range set.Rows {
			if other, twice := seen[r.ID]; twice {
				t.Fatalf("%s is in %s and in %s", r.ID, other, split)
			}
			seen[r.ID] = split
		}
		size[split] = len(set.Rows)
	}
	if len(seen) != 10000 || size["sft"] > 500 || size["eval"] < 400 {
		t.Fatalf("%d problems, %v", len(seen), size)
	}
	t.Log(size)
}

func TestTaskErrorsNameWhatThereIs(t *testing.T) {
	for _, spec := range []grouse.DataSpec{{Task: "additon", Split: "rl"}, {Task: "addition", Split: "test"}, {Task: "addition", Split: "rl", Params: map[string]any{"digit": 3}}} {
		if _, err := data.Load(spec, data.Options{}); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%+v: %v", spec, err)
		}
	}
}
