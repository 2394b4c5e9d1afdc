package config_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	js "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/recipes"
)

func schema(t *testing.T) *js.Schema {
	t.Helper()
	raw, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := js.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := js.NewCompiler()
	if err := c.AddResource("recipe.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("recipe.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *js.Schema, recipe []byte) error {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(recipe, &tree); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := js.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// The schema accepts every built-in recipe, and what it refuses Load refuses too.
func TestSchemaAgreesWithLoad(t *testing.T) {
	s := schema(t)
	for _, name := range config.List() {
		raw, err := fs.ReadFile(recipes.FS, name+"/recipe.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	const base = "model: ./m\ndomains:\n  d: {data: x.jsonl, rewards: [math]}\n"
	for _, more := range []string{
		"", "rollout: {temperature: 0.7, sampling: {top_k: 5}}\n", "algorithm: {loss_type: dapo, scale_rewards: none}\n", "preset: v32\n", "trainer: {learning_rate: 1e-5}\n",
		"seed: 3\non_bad_row: skip\ncheckpoint: {every: 5}\n", "algorithm: {off_policy_mask_threshold: null}\n", "algorithm: {engine_correction: {mode: none}}\n",
		"trackers: [tensorboard, {use: wandb, key: env:K}]\n",
	} {
		if err := validate(t, s, []byte(base+more)); err != nil {
			t.Errorf("%q: the schema says %v", more, err)
		}
		if _, err := config.Parse([]byte(base+more), "r.yaml", config.Options{}); err != nil && !strings.Contains(more, "top_k") {
			t.Errorf("%q: Load says %v", more, err)
		}
	}
	for _, more := range []string{
		"rollout: {num_generation: 4}\n", "steps: many\n", "steps: 1.5\n", "preset: v23\n", "algorithm: {kl_estimator: k9}\n", "trainer: {backend: tpu}\n",
		"on_bad_row: ignore\n", "trainers: {}\n", "stages: [{kind: rlhf}]\n", "algorithm: {engine_correction: {modus: none}}\n", "eval: {evry: 3}\n",
		"trackers: [comet]\n", "trackers: {use: wandb}\n", "trackers: [{project: p}]\n",
	} {
		if validate(t, s, []byte(base+more)) == nil {
			t.Errorf("%q: the schema accepts it", more)
		}
		if _, err := config.Parse([]byte(base+more), "r.yaml", config.Options{}); err == nil {
			t.Errorf("%q: Load accepts it", more)
		}
	}
}

// keys.yaml names every key of a resolved recipe and no other.
func TestEveryKeyIsDescribed(t *testing.T) {
	leaves := map[string]bool{}
	var walk func(path string, t reflect.Type)
	walk = func(path string, typ reflect.Type) {
		switch {
		case typ.Kind() == reflect.Pointer:
			walk(path, typ.Elem())
		case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct:
			walk(path, typ.Elem())
		case typ.Kind() == reflect.Struct:
			for i := range typ.NumField() {
				name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
				walk(strings.TrimPrefix(path+"."+name, "."), typ.Field(i).Type)
			}
		default:
			leaves[path] = true
		}
	}
	walk("", reflect.TypeFor[grouse.RunSpec]())
	if len(leaves) < 100 {
		t.Fatalf("only %d keys", len(leaves))
	}
	for path := range leaves {
		if path == "stages.domains.name" {
			continue // the key of the domain's block
		}
		if k := config.Describe(path); k.About == "" {
			t.Errorf("%s is not in keys.yaml", path)
		}
	}
	if k := config.Describe("stages[0].algorithm.engine_correction.cap"); !strings.Contains(k.About, "bound") {
		t.Errorf("engine_correction.cap: %+v", k)
	}
	if k := config.Describe("stages[1].rollout.max_completion_length"); k.Unit != "tokens" {
		t.Errorf("max_completion_length: %+v", k)
	}
	if k := config.Describe("model.tiny.hidden_size"); k != (config.Key{}) {
		t.Errorf("a free parameter: %+v", k)
	}
	// The schema shows each description once or more, so a key of keys.yaml that does
	// not exist is missing there.
	raw, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, about := range config.Abouts() {
		text, _ := json.Marshal(about)
		if !bytes.Contains(raw, text[1:len(text)-1]) {
			t.Errorf("keys.yaml describes a key that no recipe has: %q", about)
		}
	}
}
