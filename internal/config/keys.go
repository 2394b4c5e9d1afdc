package config

import (
	_ "embed"
	"regexp"
	"strings"
	"sync"
)

//go:embed keys.yaml
var keysYAML []byte

// Key is what keys.yaml says of one key.
type Key struct {
	Unit  string // "" where there is none
	About string
}

// keyTable is keys.yaml: by block and, within it, by key.
var keyTable = sync.OnceValue(func() map[string]map[string]Key {
	tree, err := parse(keysYAML, "default", "keys.yaml")
	if err != nil {
		panic(err)
	}
	table := map[string]map[string]Key{}
	for _, block := range tree.keys {
		table[block] = map[string]Key{}
		for _, key := range tree.fields[block].keys {
			pair := tree.fields[block].fields[key].items
			unit, _ := pair[0].scalar.(string)
			about, _ := pair[1].scalar.(string)
			table[block][key] = Key{unit, about}
		}
	}
	return table
})

var index = regexp.MustCompile(`\[\d+\]`)

// Describe returns what keys.yaml says of a path in a resolved recipe:
// stages[0].rollout.sampling.top_k. The zero Key is returned for paths inside free
// parameters.
func Describe(path string) Key {
	parts := strings.Split(index.ReplaceAllString(path, ""), ".")
	block := "run"
	for i, part := range parts {
		last := i == len(parts)-1
		if last {
			return keyTable()[block][part]
		}
		if part == "engine_correction" || part == "from" {
			return keyTable()[block][strings.Join(parts[i:], ".")]
		}
		if _, ok := keyTable()[part]; !ok {
			return Key{} // below params, tiny and the like
		}
		block = part
	}
	return Key{}
}
