package hub

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Split returns the table files of a data set's split, in name order, as paths on
// this machine. config is needed if the data set has several configurations (a
// folder each); split is train unless given.
//
// A file belongs to a split if its name or a folder above it begins with the
// split's name: data/train-00000-of-00002.parquet, main/train.jsonl, train/0000.parquet.
func (s *Snapshot) Split(config, split string) ([]string, error) {
	if split == "" {
		split = "train"
	}
	var tables []string
	for name := range s.Files {
		if slices.Contains([]string{".parquet", ".jsonl", ".json", ".csv"}, path.Ext(name)) && !isInfo(path.Base(name)) {
			tables = append(tables, name)
		}
	}
	slices.Sort(tables)
	var matching []string
	configs := map[string]bool{}
	for _, name := range tables {
		dir, ok := inSplit(name, split)
		if !ok {
			continue
		}
		if dir == "" || dir == "data" {
			dir = "default"
		}
		if config == "" || dir == config || slices.Contains(strings.Split(dir, "/"), config) {
			configs[dir] = true
			matching = append(matching, filepath.Join(s.Dir, filepath.FromSlash(name)))
		}
	}
	switch {
	case len(matching) == 0:
		return nil, grouse.Errorf(grouse.NotFound, "data set %s has no split %q%s", s.Repo, split, ofConfig(config)).WithFix("its tables: %s", strings.Join(tables, ", "))
	case len(configs) > 1:
		var names []string
		for c := range configs {
			names = append(names, c)
		}
		slices.Sort(names)
		return nil, grouse.Errorf(grouse.Invalid, "data set %s has several configurations", s.Repo).WithFix("set data.config to one of %s", strings.Join(names, ", "))
	}
	return matching, nil
}

func ofConfig(config string) string {
	if config == "" {
		return ""
	}
	return " of configuration \"" + config + "\""
}

func isInfo(base string) bool {
	return slices.Contains([]string{"dataset_infos.json", "dataset_info.json", "state.json", "config.json"}, base)
}

// inSplit reports whether a file belongs to a split, and the folder that its
// configuration is.
func inSplit(name, split string) (dir string, ok bool) {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		rest, found := strings.CutPrefix(part, split)
		if found && (rest == "" || strings.ContainsRune("-_.", rune(rest[0]))) {
			return strings.Join(parts[:i], "/"), true
		}
	}
	return "", false
}
