package config

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/track"
)

type object = map[string]any

// choices are the values of keys that have a fixed list.
var choices = map[string][]string{
	"run.on_bad_row": {"stop", "skip"}, "stages.kind": stageKinds,
	"rollout.engine":      {"local", "openai", "vllm", "sglang"},
	"algorithm.advantage": {"mean", "mean_std"}, "algorithm.importance_sampling_level": {"token", "sequence"}, "algorithm.pi_old": {"rollout", "recomputed"},
	"algorithm.loss_aggregation": {"seq_mean_token_mean", "token_mean", "seq_mean_token_sum", "seq_mean_token_sum_norm"},
	"algorithm.kl_estimator":     {"none", "k1", "k2", "k3", "k1_is", "k2_is", "k3_is"},
	"algorithm.filter_groups":    {"none", "total", "outcome"}, "algorithm.curriculum": {"uniform", "prioritized", "easy_to_hard"},
	"trainer.backend": {"cpu", "cuda", "torch"}, "trainer.train_indexer": {"none", "warmup", "sparse"}, "trainer.lr_scheduler_type": {"constant", "linear", "cosine"},
	"trackers.use": track.Names,
}

// Schema returns the JSON Schema (draft 2020-12) of recipe files, for editors.
// It knows keys, types and lists of choices; what else a recipe must satisfy, Load
// says.
func Schema() ([]byte, error) {
	raw, err := json.MarshalIndent(schema(), "", "  ")
	return append(raw, '\n'), err
}

func schema() object {
	list := func(items any) object { return object{"type": "array", "items": items} }
	named := func(block string) object { return object{"$ref": "#/$defs/" + block} }
	sampling := properties("sampling", reflect.TypeFor[grouse.Sampling]())

	rollout := properties("rollout", reflect.TypeFor[grouse.RolloutSpec]())
	merge(rollout, sampling)
	rollout["sampling"] = closed(sampling, "")
	algorithm := properties("algorithm", reflect.TypeFor[grouse.Algorithm]())
	algorithm["engine_correction"] = closed(properties("algorithm.engine_correction", reflect.TypeFor[grouse.EngineCorrection]()), "")
	algorithm["loss_type"] = object{"enum": []string{"grpo", "dapo", "dr_grpo"}, "description": "TRL's name: sets loss_aggregation"}
	algorithm["scale_rewards"] = object{"enum": []any{"group", "none", true, false}, "description": "TRL's name: sets advantage"}

	data := object{"anyOf": []any{
		object{"type": "string", "description": "a file or folder, or hub:ORG/NAME"},
		closed(properties("data", reflect.TypeFor[grouse.DataSpec]()), ""),
	}}
	reward := properties("rewards", reflect.TypeFor[grouse.RewardSpec]())
	rewards := list(object{"anyOf": []any{
		object{"type": "string"},
		object{"type": "object", "properties": reward, "required": []string{"use"}}, // its own parameters stand beside use
	}})
	domain := properties("domains", reflect.TypeFor[grouse.Domain]())
	delete(domain, "name")
	domain["data"], domain["rewards"] = named("data"), named("rewards")
	domain["thinking"] = object{"enum": []any{"true", "false", "mixed", true, false}, "description": domain["thinking"].(object)["description"]}

	shared := object{
		"domains": object{"type": "object", "additionalProperties": closed(domain, "")}, "rollout": closed(rollout, ""), "algorithm": closed(algorithm, ""),
		"trainer": closed(properties("trainer", reflect.TypeFor[grouse.TrainerSpec]()), ""), "sft": closed(properties("sft", reflect.TypeFor[grouse.SFTSpec]()), ""),
		"rejection_sampling": closed(properties("rejection_sampling", reflect.TypeFor[grouse.RejectSpec]()), ""),
	}
	steps := func(block string) object {
		return object{"type": "integer", "minimum": 1, "description": keyTable()[block]["steps"].About}
	}
	presets := func(block string) object {
		return object{"enum": Presets(), "description": keyTable()[block]["preset"].About}
	}
	stage := properties("stages", reflect.TypeFor[grouse.Stage]())
	merge(stage, shared)
	stage["steps"], stage["preset"] = steps("stages"), presets("stages")
	stageSchema := closed(stage, "")
	stageSchema["required"] = []string{"kind"}

	eval := properties("eval", reflect.TypeFor[grouse.EvalSpec]())
	merge(eval, sampling)
	eval["sampling"], eval["data"], eval["rewards"] = closed(sampling, ""), named("data"), named("rewards")

	top := properties("run", reflect.TypeFor[grouse.RunSpec]())
	merge(top, shared)
	top["steps"], top["preset"] = steps("run"), presets("run")
	model := properties("model", reflect.TypeFor[grouse.ModelSpec]())
	model["from"] = closed(properties("model.from", reflect.TypeFor[grouse.ForkSpec]()), "")
	top["model"] = object{"anyOf": []any{
		object{"type": "string", "description": "a Hugging Face folder, a .gguf file, or ORG/NAME on the hub"},
		closed(model, ""),
	}}
	top["eval"], top["stages"] = closed(eval, ""), list(stageSchema)
	top["checkpoint"] = closed(properties("checkpoint", reflect.TypeFor[grouse.CheckpointSpec]()), "")
	top["trackers"] = list(object{"anyOf": []any{
		object{"enum": choices["trackers.use"]},
		object{"type": "object", "properties": properties("trackers", reflect.TypeFor[grouse.TrackerSpec]()), "required": []string{"use"}}, // its own parameters stand beside use
	}})
	out := closed(top, "a recipe of grouse")
	out["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	out["required"] = []string{"model"}
	out["$defs"] = object{"data": data, "rewards": rewards}
	return out
}

func closed(props object, about string) object {
	o := object{"type": "object", "properties": props, "additionalProperties": false}
	if about != "" {
		o["description"] = about
	}
	return o
}

func merge(into, from object) {
	for k, v := range from {
		into[k] = v
	}
}

// properties describes the leaves of a block by its Go type; nested blocks are
// left to the caller.
func properties(block string, t reflect.Type) object {
	table, inner, _ := strings.Cut(block, ".")
	out := object{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		kind := jsonType(t.Field(i).Type)
		if name == "" || kind == nil {
			continue
		}
		key := name
		if inner != "" {
			key = inner + "." + name
		}
		about := keyTable()[table][key]
		text := about.About
		if about.Unit != "" {
			text += " (" + about.Unit + ")"
		}
		kind["description"] = text
		if values, ok := choices[table+"."+key]; ok {
			delete(kind, "type")
			kind["enum"] = values
		}
		out[name] = kind
	}
	return out
}

// jsonType returns the type of a leaf, nil for a block. Numbers may be written as
// 1e-6, which YAML 1.1 editors take for text.
func jsonType(t reflect.Type) object {
	switch t.Kind() {
	case reflect.Pointer:
		inner := jsonType(t.Elem())
		if inner == nil {
			return nil
		}
		return object{"anyOf": []any{inner, object{"type": "null"}}}
	case reflect.String:
		return object{"type": []string{"string", "null"}}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return object{"type": []string{"number", "string"}}
	case reflect.Map:
		return object{"type": "object"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.String {
			return object{"type": "array", "items": object{"type": "string"}}
		}
	case reflect.Array:
		return object{"type": "array", "minItems": t.Len(), "maxItems": t.Len(), "items": object{"type": "number"}}
	}
	return nil
}
