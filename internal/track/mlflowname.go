package track

import (
	"fmt"
	"path"
	"sort"
	"strings"
)

// mlflowName is a name as MLflow takes it: letters, digits, and _-./: and space,
// a clean relative path. Anything else becomes _: eval/avg@4 is eval/avg_4.
func mlflowName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./: ", r) {
			return r
		}
		return '_'
	}, name)
	if path.Clean(name) != name || strings.HasPrefix(name, "/") || name == "." || name == ".." || strings.HasPrefix(name, "../") {
		name = "_" + strings.NewReplacer("/", "_", ".", "_").Replace(name)
	}
	if len(name) > 250 {
		name = name[:250]
	}
	return name
}

// mlflowRecipe is the recipe as parameters, by name: stages.rl.trainer.learning_rate.
func mlflowRecipe(run *Run) ([][2]string, error) {
	plain, err := run.config()
	if err != nil {
		return nil, err
	}
	var out [][2]string
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, f := range v {
				walk(strings.TrimPrefix(at+"."+k, "."), f)
			}
			return
		case []any:
			for i, f := range v {
				key := fmt.Sprint(i)
				if named, ok := f.(map[string]any); ok && named["name"] != nil {
					key = fmt.Sprint(named["name"])
				}
				walk(at+"."+key, f)
			}
			return
		}
		text := fmt.Sprint(v)
		if v == nil {
			text = "null"
		}
		if len(text) > mlflowValue {
			text = strings.ToValidUTF8(text[:mlflowValue], "")
		}
		out = append(out, [2]string{mlflowName(at), text})
	}
	walk("", plain)
	sort.Slice(out, func(i, j int) bool { return out[i][0] < out[j][0] })
	unique := out[:0]
	for i, kv := range out {
		if i == 0 || kv[0] != out[i-1][0] {
			unique = append(unique, kv)
		}
	}
	return unique, nil
}
