package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
)

// decode fills dst from v, strictly, by the json tags of dst's type. path is
// where v stands, for errors; origins receives the origin of every leaf.
func decode(v *value, dst reflect.Value, path string, origins map[string]Origin) error {
	if v.fields == nil && !v.isList && v.scalar == nil {
		switch dst.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface, reflect.String:
			origins[path] = v.origin
			return nil // null: not set
		}
	}
	switch dst.Kind() {
	case reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		return decode(v, dst.Elem(), path, origins)
	case reflect.Struct:
		return decodeStruct(v, dst, path, origins)
	case reflect.Map:
		if v.fields == nil {
			return v.errorf("%s: want a block of keys and values, got %s", path, v.what())
		}
		origins[path] = v.origin
		dst.Set(reflect.ValueOf(v.plain()))
		return nil
	case reflect.Slice:
		if !v.isList {
			return v.errorf("%s: want a list, got %s", path, v.what())
		}
		dst.Set(reflect.MakeSlice(dst.Type(), len(v.items), len(v.items)))
		for i, item := range v.items {
			if err := decode(item, dst.Index(i), fmt.Sprintf("%s[%d]", path, i), origins); err != nil {
				return err
			}
		}
		return nil
	case reflect.Array:
		if !v.isList || len(v.items) != dst.Len() {
			return v.errorf("%s: want a list of %d, got %s", path, dst.Len(), v.what())
		}
		for i, item := range v.items {
			if err := decode(item, dst.Index(i), fmt.Sprintf("%s[%d]", path, i), origins); err != nil {
				return err
			}
		}
		return nil
	}
	if v.fields != nil || v.isList {
		return v.errorf("%s: want %s, got %s", path, kindName(dst.Kind()), v.what())
	}
	origins[path] = v.origin
	if err := decodeScalar(v.scalar, dst); err != nil {
		return v.errorf("%s: %v", path, err)
	}
	return nil
}

func decodeScalar(s any, dst reflect.Value) error {
	bad := fmt.Errorf("want %s, got %s", kindName(dst.Kind()), scalarText(s))
	switch dst.Kind() {
	case reflect.String:
		switch t := s.(type) {
		case string:
			dst.SetString(t)
		case bool: // thinking: true
			dst.SetString(fmt.Sprint(t))
		default:
			return bad
		}
	case reflect.Bool:
		b, ok := s.(bool)
		if !ok {
			return bad
		}
		dst.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint64:
		f, ok := number(s)
		if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return bad
		}
		if dst.Kind() == reflect.Uint64 {
			if f < 0 {
				return bad
			}
			dst.SetUint(uint64(f))
		} else if dst.OverflowInt(int64(f)) {
			return bad
		} else {
			dst.SetInt(int64(f))
		}
	case reflect.Float32, reflect.Float64:
		f, ok := number(s)
		if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
			return bad
		}
		dst.SetFloat(f)
	case reflect.Interface:
		dst.Set(reflect.ValueOf(s))
	default:
		return bad
	}
	return nil
}

func number(s any) (float64, bool) {
	switch t := s.(type) {
	case int:
		return float64(t), true
	case float64:
		return t, true
	case string: // YAML 1.1 reads 1e-6 as a string
		var f float64
		if n, err := fmt.Sscanf(t, "%g", &f); n == 1 && err == nil && strings.ContainsAny(t, "eE.") {
			return f, true
		}
	}
	return 0, false
}

func decodeStruct(v *value, dst reflect.Value, path string, origins map[string]Origin) error {
	if v.fields == nil {
		return v.errorf("%s: want a block of keys, got %s", path, v.what())
	}
	index := map[string]int{}
	var names []string
	for i := range dst.NumField() {
		name, _, _ := strings.Cut(dst.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			index[name] = i
			names = append(names, name)
		}
	}
	for _, k := range v.keys {
		i, ok := index[k]
		if !ok {
			return unknownKey(v.fields[k], path, k, names)
		}
		if err := decode(v.fields[k], dst.Field(i), join(path, k), origins); err != nil {
			return err
		}
	}
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// unknownKey refuses a key, with the name that was probably meant.
func unknownKey(v *value, path, key string, names []string) error {
	err := v.errorf("unknown key %q", join(path, key))
	if ours, ok := foreignNames[key]; ok {
		return err.WithFix("grouse calls it %s", ours)
	}
	if n := nearest(key, names); n != "" {
		return err.WithFix("did you mean %q?", n)
	}
	slices.Sort(names)
	return err.WithFix("known here: %s", strings.Join(names, ", "))
}

// foreignNames are other trainers' names (verl, slime, OpenRLHF, prime-rl, DeepSpeed).
var foreignNames = map[string]string{
	"n": "rollout.num_generations", "n_samples_per_prompt": "rollout.num_generations", "group_size": "rollout.num_generations", "num_generations_per_prompt": "rollout.num_generations",
	"max_response_length": "rollout.max_completion_length", "max_tokens": "rollout.max_completion_length", "train_batch_size": "rollout.prompts_per_step", "rollout_batch_size": "rollout.prompts_per_step",
	"clip_ratio": "algorithm.epsilon", "clip_ratio_low": "algorithm.epsilon", "clip_ratio_high": "algorithm.epsilon_high", "eps_clip": "algorithm.epsilon", "eps_clip_high": "algorithm.epsilon_high", "clip_ratio_c": "algorithm.delta",
	"kl_loss_coef": "algorithm.beta, or domains.NAME.beta", "kl_coef": "algorithm.beta", "kl_loss_type": "algorithm.kl_estimator", "use_kl_loss": "algorithm.beta: 0 for none", "use_bias_correction_kl": "algorithm.kl_estimator: k3_is",
	"loss_agg_mode": "algorithm.loss_aggregation", "norm_adv_by_std_in_grpo": "algorithm.advantage: mean_std or mean",
	"lr": "trainer.learning_rate", "max_steps": "steps", "num_rollout": "steps", "total_epochs": "steps", "ppo_epochs": "algorithm.num_iterations", "max_off_policy_steps": "rollout.max_staleness",
	"optimizer_offload": "trainer.offload_moments", "offload_optimizer": "trainer.offload_moments", "adam_offload": "trainer.offload_moments", "optimizer_cpu_offload": "trainer.offload_moments",
	"reward_funcs": "domains.NAME.rewards", "dataset_name": "domains.NAME.data", "model_name_or_path": "model", "save_steps": "checkpoint.every", "eval_steps": "eval.every",
}

// nearest returns the name within a third of key's length in edits, "" if none.
func nearest(key string, names []string) string {
	best, at := "", len(key)/3+1
	for _, n := range names {
		if d := distance(key, n); d <= at && (best == "" || d < distance(key, best)) {
			best = n
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost = min(prev, row[j], row[j+1]) + 1
			}
			prev, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

func (v *value) what() string {
	switch {
	case v.fields != nil:
		return "a block"
	case v.isList:
		return "a list"
	}
	return scalarText(v.scalar)
}

func scalarText(s any) string {
	if t, ok := s.(string); ok {
		return fmt.Sprintf("%q", t)
	}
	if s == nil {
		return "nothing"
	}
	return fmt.Sprint(s)
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}
