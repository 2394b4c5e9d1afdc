package checkpoint_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/trainer/checkpoint"
)

type named struct {
	name  string
	shape []int
	data  []float32
}

func tensors(all ...named) checkpoint.Tensors {
	return func(yield func(string, []int, []float32) error) error {
		buf := make([]float32, 16) // reused: data is valid during the call only
		for _, t := range all {
			n := copy(buf, t.data)
			if err := yield(t.name, t.shape, buf[:n]); err != nil {
				return err
			}
		}
		return nil
	}
}

func content(step int64) checkpoint.Content {
	return checkpoint.Content{
		State:   checkpoint.State{Stage: 1, Step: step, Version: step, Chain: "c" + checkpoint.Name(step), Trainer: json.RawMessage(`{"tokens":5}`)},
		Weights: tensors(named{"b.weight", []int{2, 2}, []float32{1, 2, 3, float32(step)}}, named{"a.weight", []int{3}, []float32{4, 5, float32(math.Inf(1))}}),
		Moments: tensors(named{"m.b.weight", []int{2, 2}, []float32{.1, .2, .3, .4}}),
		Files:   map[string][]byte{"config.json": []byte(`{"model_type":"llama"}`), "tokenizer.json": []byte("{}")},
		Device:  "cpu/plain", RecipeSHA256: "r",
	}
}

func save(t *testing.T, root string, step int64) *checkpoint.Saved {
	t.Helper()
	s, err := checkpoint.Save(root, checkpoint.Name(step), content(step))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Who says which moments there are is asked for them once; who says it wrong is told.
func TestMomentsAreAskedForOnce(t *testing.T) {
	shapes := func(names ...string) func(func(string, []int) error) error {
		return func(yield func(string, []int) error) error {
			for _, n := range names {
				if err := yield(n, []int{2, 2}); err != nil {
					return err
				}
			}
			return nil
		}
	}
	asked := 0
	c := content(1)
	moments := c.Moments
	c.Moments = func(yield func(string, []int, []float32) error) error { asked++; return moments(yield) }
	for _, say := range []func(func(string, []int) error) error{nil, shapes("m.b.weight")} {
		asked, c.MomentShapes = 0, say
		root := t.TempDir()
		saved, err := checkpoint.Save(root, "c", c)
		if want := save(t, t.TempDir(), 1); err != nil || saved.ManifestSHA256 != want.ManifestSHA256 {
			t.Errorf("another checkpoint, or %v", err)
		}
		if want := map[bool]int{true: 2, false: 1}[say == nil]; asked != want {
			t.Errorf("asked %d times for the moments, want %d", asked, want)
		}
	}
	for _, names := range [][]string{{"m.a.weight"}, {"m.b.weight", "v.b.weight"}} {
		c.MomentShapes = shapes(names...)
		if _, err := checkpoint.Save(t.TempDir(), "c", c); grouse.KindOf(err) != grouse.Internal {
			t.Errorf("%v for m.b.weight: %v", names, err)
		}
	}
}

func TestSaveAndOpen(t *testing.T) {
	root := filepath.Join(t.TempDir(), "checkpoints")
	saved := save(t, root, 20)
	if filepath.Base(saved.Dir) != "step-000020" {
		t.Errorf("dir %s", saved.Dir)
	}
	d, err := checkpoint.Open(saved.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.State.Step != 20 || d.State.Stage != 1 || string(d.State.Trainer) == "" || d.ManifestSHA256 != saved.ManifestSHA256 || d.Manifest.Device != "cpu/plain" {
		t.Errorf("state %+v, manifest %+v", d.State, d.Manifest)
	}
	w := d.Weights()
	if got, want := w.Names(), []string{"a.weight", "b.weight"}; !slices.Equal(got, want) {
		t.Errorf("names %v", got)
	}
	got := make([]float32, 4)
	if err := w.Float32("b.weight", got); err != nil || !slices.Equal(got, []float32{1, 2, 3, 20}) || !slices.Equal(w.Shape("b.weight"), []int{2, 2}) || w.Shape("x") != nil {
		t.Errorf("b.weight %v %v", got, err)
	}
	if err := d.Moments().Float32("m.b.weight", got); err != nil || got[3] != .4 {
		t.Errorf("moments %v %v", got, err)
	}
	if b, err := d.File("config.json"); err != nil || !strings.Contains(string(b), "llama") {
		t.Errorf("config.json %q %v", b, err)
	}
	sum, err := checkpoint.WeightsSHA256(saved.Dir)
	if err != nil || sum != saved.WeightsSHA256 || sum != d.Manifest.WeightsSHA256 {
		t.Errorf("weights %s and %s, %v", sum, saved.WeightsSHA256, err)
	}
}

// The same content makes the same bytes, wherever and whenever it is written.
func TestDeterministic(t *testing.T) {
	a, b := save(t, t.TempDir(), 3), save(t, t.TempDir(), 3)
	if a.ManifestSHA256 != b.ManifestSHA256 || a.WeightsSHA256 != b.WeightsSHA256 {
		t.Errorf("%+v and %+v differ", a, b)
	}
	if c := save(t, t.TempDir(), 4); c.WeightsSHA256 == a.WeightsSHA256 {
		t.Error("other weights have the same digest")
	}
	const want = "acf3fa8f44d4c5c8b7037930898a304d51689872ff6c36b2da9960bc71518220"
	if a.WeightsSHA256 != want {
		t.Errorf("weights_sha256 %s, want %s: the bytes of model.safetensors are a contract", a.WeightsSHA256, want)
	}
}

func TestShardsAreOneModel(t *testing.T) {
	c := content(1)
	c.ShardBytes = 13
	root := t.TempDir()
	saved, err := checkpoint.Save(root, "sharded", c)
	if err != nil {
		t.Fatal(err)
	}
	d, err := checkpoint.Open(saved.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, ok := d.Manifest.Files["model-00002-of-00002.safetensors"]; !ok {
		t.Errorf("files %v", d.Manifest.Files)
	}
	got := make([]float32, 4)
	if err := d.Weights().Float32("b.weight", got); err != nil || got[2] != 3 {
		t.Errorf("%v %v", got, err)
	}
}

func TestBFloat16Weights(t *testing.T) {
	c := content(1)
	c.DType = safetensors.BF16
	saved, err := checkpoint.Save(t.TempDir(), "half", c)
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(filepath.Join(saved.Dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, _ := f.Info("b.weight"); info.DType != safetensors.BF16 {
		t.Errorf("dtype %s", info.DType)
	}
}

// Whatever byte of whatever file is damaged, Open says which file, and Latest
// falls back to the checkpoint before.
func TestDamageIsFound(t *testing.T) {
	root := t.TempDir()
	save(t, root, 10)
	last := save(t, root, 20)
	entries, err := os.ReadDir(last.Dir)
	if err != nil || len(entries) < 6 {
		t.Fatal(len(entries), err)
	}
	for _, e := range entries {
		path := filepath.Join(last.Dir, e.Name())
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		flipped := slices.Clone(good)
		flipped[len(flipped)/2] ^= 1
		for what, damage := range map[string]func() error{
			"flipped": func() error { return os.WriteFile(path, flipped, 0o644) },
			"cut":     func() error { return os.WriteFile(path, good[:len(good)-1], 0o644) },
			"empty":   func() error { return os.WriteFile(path, nil, 0o644) },
			"gone":    func() error { return os.Remove(path) },
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			_, err := checkpoint.Open(last.Dir)
			bad := grouse.KindOf(err) == grouse.Corrupt && strings.Contains(err.Error(), e.Name())
			// A manifest of other numbers names another file; cut by its line feed it is whole.
			if e.Name() == checkpoint.ManifestName {
				bad = what == "cut" || grouse.KindOf(err) == grouse.Corrupt || grouse.KindOf(err) == grouse.Invalid
			}
			if !bad {
				t.Errorf("%s %s: %v", e.Name(), what, err)
			}
			if what != "cut" || e.Name() != checkpoint.ManifestName {
				d, skipped, err := checkpoint.Latest(root)
				if err != nil || d.State.Step != 10 || len(skipped) != 1 {
					t.Fatalf("%s %s: latest is %+v, skipped %v, %v", e.Name(), what, d, skipped, err)
				}
				d.Close()
			}
			if err := os.WriteFile(path, good, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A weight file that nobody wrote.
	if err := os.WriteFile(filepath.Join(last.Dir, "model-extra.safetensors"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Open(last.Dir); grouse.KindOf(err) != grouse.Corrupt {
		t.Errorf("extra weights: %v", err)
	}
}

func TestLatestWithNothing(t *testing.T) {
	if _, _, err := checkpoint.Latest(filepath.Join(t.TempDir(), "none")); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("no folder: %v", err)
	}
	root := t.TempDir()
	os.MkdirAll(filepath.Join(root, "step-000001"), 0o755)
	if _, skipped, err := checkpoint.Latest(root); grouse.KindOf(err) != grouse.Corrupt || len(skipped) != 1 {
		t.Errorf("an empty checkpoint: %v %v", skipped, err)
	}
}

// What a crash leaves is neither taken for a checkpoint nor in the way.
func TestLeftoversOfACrash(t *testing.T) {
	root := t.TempDir()
	save(t, root, 1)
	for _, left := range []string{".tmp-step-000002-123", ".old-step-000001"} {
		os.MkdirAll(filepath.Join(root, left), 0o755)
		os.WriteFile(filepath.Join(root, left, "model.safetensors"), []byte("half"), 0o644)
	}
	d, skipped, err := checkpoint.Latest(root)
	if err != nil || len(skipped) != 0 || d.State.Step != 1 {
		t.Fatalf("%v %v", skipped, err)
	}
	d.Close()
	save(t, root, 2)
	entries, _ := os.ReadDir(root)
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestSaveFailsCleanly(t *testing.T) {
	root := t.TempDir()
	boom := errors.New("boom")
	c := content(1)
	calls := 0
	c.Weights = func(yield func(string, []int, []float32) error) error {
		if calls++; calls == 2 {
			return boom
		}
		return yield("a", []int{1}, []float32{1})
	}
	if _, err := checkpoint.Save(root, "x", c); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(root); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	for _, name := range []string{"", "../x", ".x", "a/b"} {
		if _, err := checkpoint.Save(root, name, content(1)); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("name %q: %v", name, err)
		}
	}
	c = content(1)
	c.Files["../evil"] = nil
	if _, err := checkpoint.Save(root, "x", c); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestSavingAgain(t *testing.T) {
	root := t.TempDir()
	first := save(t, root, 5)
	before, _ := os.Stat(filepath.Join(first.Dir, "model.safetensors"))
	again := save(t, root, 5)
	after, _ := os.Stat(filepath.Join(first.Dir, "model.safetensors"))
	if again.ManifestSHA256 != first.ManifestSHA256 || !os.SameFile(before, after) {
		t.Error("the same checkpoint was written again")
	}
	os.WriteFile(filepath.Join(first.Dir, "state.json"), []byte("damaged"), 0o644)
	save(t, root, 5)
	d, err := checkpoint.Open(first.Dir)
	if err != nil {
		t.Fatalf("a damaged checkpoint was not replaced: %v", err)
	}
	d.Close()
}

func TestNewerFormatIsRefusedByName(t *testing.T) {
	saved := save(t, t.TempDir(), 1)
	path := filepath.Join(saved.Dir, checkpoint.ManifestName)
	raw, _ := os.ReadFile(path)
	os.WriteFile(path, []byte(strings.Replace(string(raw), `"version": 1`, `"version": 2`, 1)), 0o644)
	if _, err := checkpoint.Open(saved.Dir); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "grouse.checkpoint/2") {
		t.Errorf("got %v", err)
	}
}

func TestRetain(t *testing.T) {
	root := t.TempDir()
	for step := int64(1); step <= 6; step++ {
		save(t, root, step)
	}
	os.MkdirAll(filepath.Join(root, "bad"), 0o755)
	removed, err := checkpoint.Retain(root, 2, "step-000001")
	if err != nil || !slices.Equal(removed, []string{"step-000004", "step-000003", "step-000002"}) {
		t.Errorf("removed %v, %v", removed, err)
	}
	list, _ := checkpoint.List(root)
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	if want := []string{"step-000006", "step-000005", "step-000001", "bad"}; !slices.Equal(names, want) {
		t.Errorf("left %v, want %v", names, want)
	}
}
