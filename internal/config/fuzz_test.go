package config_test

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/recipes"
)

// A recipe may come from anywhere: it cannot make Load slow or large.
func TestBombs(t *testing.T) {
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		prev := strings.Repeat("*a"+string(rune('a'+i-2))+", ", 9)
		if i == 1 {
			prev = strings.Repeat("*a0, ", 9)
		}
		laughs += "a" + string(rune('a'+i-1)) + ": &a" + string(rune('a'+i-1)) + " [" + prev + "x]\n"
	}
	for name, recipe := range map[string]string{
		"aliases in aliases": laughs,
		"an alias of itself": "model: &a {path: *a}\n",
		"deep":               "model: " + strings.Repeat("{a: ", 20_000) + "1" + strings.Repeat("}", 20_000),
		"deep lists":         "model: " + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"long":               "model: ./m\n#" + strings.Repeat("x", 2<<20),
		"many keys":          strings.Repeat("? a\n", 100_000),
		"two documents":      small[1:] + "---\nmodel: ./n\n",
		"a tag":              "model: !!python/object/apply:os.system [\"true\"]\n",
	} {
		begin := time.Now()
		_, err := config.Parse([]byte(recipe), "bomb.yaml", config.Options{})
		if grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range config.List() {
		raw, err := fs.ReadFile(recipes.FS, name+"/recipe.yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("model: ./m\npreset: v32\nstages: [{kind: sft, name: a}, {kind: rl, preset: dapo, algorithm: {loss_type: grpo}}]\ndomains: {d: {data: hub:a/b, rewards: [{use: x, y: 1}]}}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := config.Parse(raw, "fuzz.yaml", config.Options{})
		if err != nil {
			if grouse.KindOf(err) != grouse.Invalid {
				t.Fatalf("%s error: %v", grouse.KindOf(err), err)
			}
			return
		}
		saved, err := r.Save()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse(saved, "saved.yaml", config.Options{}); err != nil {
			t.Fatalf("the saved recipe is refused: %v\n%s", err, saved)
		}
	})
}
