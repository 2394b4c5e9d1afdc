// Package config turns a recipe file into a grouse.RunSpec.
//
//	r, err := config.Load(config.Source{Name: "quickstart"}, config.Options{Set: []string{"seed=3"}})
//	r.Spec    // resolved: nothing is left to defaults
//	r.Origin  // where each value came from
//
// A value comes from the first of: --set, the stage's block, the recipe's top
// level, the preset, the defaults. All of these are YAML trees whose leaves
// remember their place; they are merged, brought into RunSpec's shape, and
// decoded strictly: an unknown key, a wrong type or a setting that would have no
// effect is refused with file, line, column, key and the nearest valid name.
//
// keys.yaml lists every key with its default, unit and meaning; presets.yaml
// the presets with their sources. JSON Schema and `recipe show --explain` are
// written from them.
package config
