package tokenizer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
)

// fileNames are the files of a model folder that belong to the tokenizer;
// config.json is read for its eos_token_id only.
var fileNames = []string{
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json", "config.json",
}

// maxFile bounds one of these files, in bytes; the largest vocabularies take 40 MB.
const maxFile = 256 << 20

// Load reads the tokenizer of a model folder.
func Load(dir string) (*Tokenizer, error) {
	files := map[string][]byte{}
	for _, name := range fileNames {
		path := filepath.Join(dir, name)
		st, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "load tokenizer: %w", err)
		}
		if st.Size() > maxFile {
			return nil, grouse.Errorf(grouse.Invalid, "load tokenizer: %q has %d bytes, more than %d", path, st.Size(), maxFile)
		}
		if files[name], err = os.ReadFile(path); err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "load tokenizer: %w", err)
		}
	}
	t, err := Parse(files)
	if err != nil {
		return nil, fmt.Errorf("load tokenizer %q: %w", dir, err)
	}
	return t, nil
}
