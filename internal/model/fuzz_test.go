package model_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/grouse-rl/grouse/internal/model"
)

// FuzzParseConfig: no panic on any config.json, and what is accepted has sizes that
// count up to a number of weights without overflow.
func FuzzParseConfig(f *testing.F) {
	for _, family := range families {
		raw, err := os.ReadFile(filepath.Join("testdata", family, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"architectures":["LlamaForCausalLM"],"vocab_size":16777216,"hidden_size":1048576,"intermediate_size":1048576,"num_hidden_layers":1024,"num_attention_heads":4096,"head_dim":4096}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := model.ParseConfig(raw); err == nil {
			if n, err := c.Parameters(); err != nil || n <= 0 {
				t.Errorf("%d parameters, %v", n, err)
			}
			_ = c.EndIDs()
		}
		if out, err := model.AddIndexer(raw, map[string]any{"index_n_heads": 2, "index_head_dim": 16, "index_topk": 8}); err == nil {
			_, _ = model.ParseConfig(out)
		}
	})
}
