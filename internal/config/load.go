package config

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/recipes"
)

// Options are what the command line adds to a recipe.
type Options struct {
	Set  []string // key.path=YAML value
	Name string   // of the run; the recipe's name if empty
}

// Resolved is a recipe with nothing left open.
type Resolved struct {
	Spec   grouse.RunSpec
	Base   string            // folder that the recipe's relative paths start from
	Origin map[string]Origin // of each leaf of Spec, by its path in Spec's JSON
}

// List returns the names of the built-in recipes.
func List() []string {
	files, err := fs.Glob(recipes.FS, "*/recipe.yaml")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for i, f := range files {
		files[i] = filepath.ToSlash(filepath.Dir(f))
	}
	sort.Strings(files)
	return files
}

// Read returns a recipe's file: a path if one exists, else a built-in name.
func Read(name string) (raw []byte, file, base string, err error) {
	if strings.ContainsAny(name, `/\.`) {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, "", "", grouse.Errorf(grouse.NotFound, "recipe %s: %w", name, err).WithFix("`grouse recipe list` shows the built-in ones")
		}
		abs, err := filepath.Abs(name)
		return raw, filepath.Base(name), filepath.Dir(abs), err
	}
	raw, err = recipes.FS.ReadFile(name + "/recipe.yaml")
	if err == nil {
		return raw, name + "/recipe.yaml", "", nil
	}
	e := grouse.Errorf(grouse.NotFound, "no recipe %q", name)
	if n := nearest(name, List()); n != "" {
		return nil, "", "", e.WithFix("did you mean %q? A file is given with its ending: ./%s.yaml", n, name)
	}
	return nil, "", "", e.WithFix("built-in recipes: %s. A file is given with its ending: ./%s.yaml", strings.Join(List(), ", "), name)
}

// Load reads and resolves a recipe by name or path.
func Load(name string, o Options) (*Resolved, error) {
	raw, file, base, err := Read(name)
	if err != nil {
		return nil, err
	}
	r, err := Parse(raw, file, o)
	if err != nil {
		return nil, err
	}
	r.Base = base
	if r.Spec.Recipe == "" {
		r.Spec.Recipe = strings.TrimSuffix(strings.TrimSuffix(filepath.ToSlash(file), "/recipe.yaml"), ".yaml")
	}
	if r.Spec.Name == "" {
		r.Spec.Name = r.Spec.Recipe
	}
	return r, CheckName(r.Spec.Name)
}

// CheckName refuses names that could not be a run's: they become folders and
// subjects.
func CheckName(name string) error {
	ok := len(name) > 0 && len(name) <= 64 && name[0] != '_' && name[0] != '-'
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if !ok {
		return grouse.Errorf(grouse.Invalid, "run name %q", name).WithFix("a name has 1 to 64 of a-z, 0-9, - and _, and begins with a letter or digit")
	}
	return nil
}

// Parse resolves a recipe's text.
func Parse(raw []byte, file string, o Options) (*Resolved, error) {
	user, err := parse(raw, "recipe", file)
	if err != nil {
		return nil, err
	}
	if user.fields == nil {
		return nil, user.errorf("a recipe is a block of keys, not %s", user.what())
	}
	if user.fields["resolved"] != nil {
		return parseResolved(user)
	}
	for _, s := range o.Set {
		if err := setFlag(user, s); err != nil {
			return nil, err
		}
	}
	tree, err := resolve(user)
	if err != nil {
		return nil, err
	}
	r := &Resolved{Origin: map[string]Origin{}}
	if err := decode(tree, reflect.ValueOf(&r.Spec).Elem(), "", r.Origin); err != nil {
		return nil, err
	}
	if o.Name != "" {
		r.Spec.Name = o.Name
	}
	return r, check(r)
}

func setFlag(user *value, s string) error {
	key, text, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return grouse.Errorf(grouse.Invalid, "--set %s: want key=value", s).WithFix("for example --set trainer.learning_rate=1e-5")
	}
	v, err := parse([]byte(text+"\n"), "--set", "--set "+s)
	if err != nil {
		if text != "" {
			return err
		}
		v = scalar(Origin{}, nil)
	}
	v.each(func(c *value) { c.origin = Origin{Kind: "--set " + key} })
	if i := strings.IndexByte(key, '.'); i > 0 && key[:i] == "stages" {
		return setStage(user, key[i+1:], v)
	}
	return user.put(key, v)
}

// setStage sets a key of a stage by its name: stages.rl.steps.
func setStage(user *value, key string, v *value) error {
	name, rest, ok := strings.Cut(key, ".")
	stages := user.fields["stages"]
	if !ok || stages == nil {
		return v.errorf("no such stage")
	}
	for _, s := range stages.items {
		if n := s.path("name"); n != nil && n.scalar == name {
			return s.put(rest, v)
		}
	}
	return v.errorf("the recipe has no stage %q", name)
}

// resolvedFile is the form in which a resolved recipe is saved with its run.
type resolvedFile struct {
	Resolved grouse.RunSpec `json:"resolved"`
	Base     string         `json:"base,omitempty"`
}

// Save returns the resolved recipe as a YAML file that Parse reads back.
func (r *Resolved) Save() ([]byte, error) {
	raw, err := json.Marshal(resolvedFile{r.Spec, r.Base})
	if err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.Unmarshal(raw, &tree); err != nil { // JSON is YAML
		return nil, err
	}
	out, err := yaml.Marshal(tree)
	return append([]byte("# The resolved recipe of this run: every value, defaults included.\n"), out...), err
}

func parseResolved(user *value) (*Resolved, error) {
	var f resolvedFile
	r := &Resolved{Origin: map[string]Origin{}}
	if err := decode(user, reflect.ValueOf(&f).Elem(), "", r.Origin); err != nil {
		return nil, err
	}
	r.Spec, r.Base = f.Resolved, f.Base
	return r, check(r)
}

// The keys of a recipe's top level that belong to a stage and are inherited by
// every stage.
var stageKeys = []string{"steps", "domains", "rollout", "algorithm", "trainer", "sft", "rejection_sampling"}

var runKeys = []string{"name", "recipe", "description", "preset", "seed", "model", "eval", "checkpoint", "trackers", "on_bad_row", "reward_error_rate", "stages"}

// resolve merges defaults, presets and the recipe, and brings the result into
// RunSpec's shape.
func resolve(user *value) (*value, error) {
	for _, k := range user.keys {
		if !slices.Contains(stageKeys, k) && !slices.Contains(runKeys, k) {
			return nil, unknownKey(user.fields[k], "", k, append(slices.Clone(runKeys), stageKeys...))
		}
	}
	if user.fields["model"] == nil {
		return nil, user.errorf("no model is given").WithFix("model: a Hugging Face folder, a .gguf file, a hub name, or tiny: {...}")
	}
	out := mapping(user.origin)
	defaults := builtin().defaults
	for _, k := range runKeys {
		if k == "stages" {
			continue
		}
		if v := defaults.fields[k].mergeOr(user.fields[k]); v != nil {
			out.set(k, v)
		}
	}
	blocks := []*value{nil}
	if s := user.fields["stages"]; s != nil && s.isList && len(s.items) > 0 {
		blocks = s.items
	} else if s != nil && !s.isList {
		return nil, s.errorf("stages: want a list, got %s", s.what())
	}
	stages := &value{origin: user.origin, isList: true}
	for i, block := range blocks {
		stage, err := resolveStage(user, block, i)
		if err != nil {
			return nil, err
		}
		stages.items = append(stages.items, stage)
	}
	out.set("stages", stages)
	return out, normalize(out)
}

// mergeOr is merge where either side may be missing.
func (v *value) mergeOr(over *value) *value {
	switch {
	case over == nil && v == nil:
		return nil
	case over == nil:
		return v.clone()
	}
	return v.merge(over)
}

// stageKinds are the kinds that a recipe may name.
var stageKinds = []string{"sft", "rl", "rejection_sampling", "dsa_warmup", "dsa_sparse"}

// dsaKinds are the stages that make a dense model a sparse one: sft with the preset of
// their name, which trains the indexers so (DeepSeek-V3.2-Exp, section 2.2).
var dsaKinds = map[string]string{"dsa_warmup": grouse.IndexerWarmup, "dsa_sparse": grouse.IndexerSparse}

// resolveStage layers one stage: defaults, preset, the recipe's top level, the
// stage's own block.
func resolveStage(user, block *value, i int) (*value, error) {
	if block == nil {
		block = mapping(user.origin)
		block.set("kind", scalar(Origin{Kind: "default"}, "rl"))
	}
	if block.fields == nil {
		return nil, block.errorf("stages[%d]: want a block of keys, got %s", i, block.what())
	}
	kind := block.fields["kind"]
	if kind == nil {
		return nil, block.errorf("stages[%d]: no kind is given", i).WithFix("kind: %s", strings.Join(stageKinds, ", "))
	}
	layers := []*value{builtin().defaults}
	if text, _ := kind.scalar.(string); dsaKinds[text] != "" {
		p, err := preset(text, kind)
		if err != nil {
			return nil, err
		}
		layers = append(layers, p)
		for _, given := range []*value{user.path("trainer.train_indexer"), block.path("trainer.train_indexer")} {
			if given != nil && given.scalar != dsaKinds[text] {
				return nil, given.errorf("stages[%d].trainer.train_indexer: a stage of kind %s has it at %s", i, text, dsaKinds[text]).WithFix("remove it, or set kind: sft")
			}
		}
	}
	name := block.fields["preset"]
	if name == nil {
		name = user.fields["preset"]
	}
	if name != nil && name.scalar != nil && kind.scalar == "rl" {
		text, _ := name.scalar.(string)
		p, err := preset(text, name)
		if err != nil {
			return nil, err
		}
		layers = append(layers, p)
	}
	layers = append(layers, user, block)
	stage := mapping(block.origin)
	for _, layer := range layers {
		for _, k := range stageKeys {
			if v := layer.fields[k]; v != nil {
				// An sft stage has its own length: the recipe's top-level steps are RL's.
				if k == "steps" && layer == user && kind.scalar != "rl" && len(user.path("stages").itemsOrNil()) > 0 {
					continue
				}
				stage.set(k, stage.fields[k].mergeOr(v))
			}
		}
	}
	for _, k := range block.keys {
		switch {
		case slices.Contains(stageKeys, k) || k == "preset":
		case k == "name" || k == "kind" || k == "model":
			stage.set(k, block.fields[k])
		default:
			return nil, unknownKey(block.fields[k], fmt.Sprintf("stages[%d]", i), k, append([]string{"name", "kind", "preset", "model"}, stageKeys...))
		}
	}
	if stage.fields["name"] == nil {
		stage.set("name", scalar(Origin{Kind: "default"}, strings.ReplaceAll(fmt.Sprint(kind.scalar), "_", "-")))
	}
	if text, _ := kind.scalar.(string); dsaKinds[text] != "" {
		stage.set("kind", scalar(kind.origin, string(grouse.StageSFT)))
	}
	return stage, nil
}

func (v *value) itemsOrNil() []*value {
	if v == nil {
		return nil
	}
	return v.items
}
