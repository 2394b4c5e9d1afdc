package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
)

// What a config.json says and this program cannot do is refused by its key.
func TestConfigsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ family, was, is, want string }{
		{"qwen3moe", `"num_local_experts": 8`, `"num_local_experts": 0`, "num_experts"},
		{"qwen3moe", `"num_experts_per_tok": 3`, `"num_experts_per_tok": 9`, "num_experts_per_tok is 9, want 1 to 8"},
		{"qwen3moe", `"moe_intermediate_size": 8`, `"moe_intermediate_size": -8`, "moe_intermediate_size"},
		{"deepseek", `"n_group": 4`, `"n_group": 3`, "8 experts in 3 groups"},
		{"deepseek", `"topk_group": 2`, `"topk_group": 1`, "3 of them from 1 groups"},
		{"deepseek", `"kv_lora_rank": 10`, `"kv_lora_rank": 0`, "kv_lora_rank"},
		{"deepseek", `"v_head_dim": 6`, `"v_head_dim": null`, "v_head_dim"},
		{"deepseek", `"qk_rope_head_dim": 4`, `"qk_rope_head_dim": 3`, "head_dim 3 is odd"},
		{"deepseek", `"model_type"`, `"scoring_func": "softmax", "model_type"`, `scoring_func "softmax"`},
		{"deepseek", `"factor": 40.0`, `"factor": 0.5`, "yarn with factor 0.5"},
		{"deepseek-sparse", `"index_topk": 12`, `"index_topk": 0`, "index_topk"},
		{"deepseek-sparse", `"index_head_dim": 8`, `"index_head_dim": 2`, "index_head_dim is 2, want 4"},
		{"deepseek-sparse", `"q_lora_rank": 12`, `"q_lora_rank": null`, "q_lora_rank"},
		{"deepseek-fp8", `"quant_method": "fp8"`, `"quant_method": "awq"`, `quantization "awq"`},
		{"deepseek-fp8", `"weight_block_size": [`, `"weight_block_size": [0, `, "in blocks of [0 16 16]"},
	} {
		raw, err := os.ReadFile(filepath.Join("testdata", c.family, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := model.ParseConfig(raw); err != nil {
			t.Fatalf("%s: %v", c.family, err)
		}
		if !strings.Contains(string(raw), c.was) {
			t.Fatalf("%s has no %s", c.family, c.was)
		}
		_, err = model.ParseConfig([]byte(strings.Replace(string(raw), c.was, c.is, 1)))
		if grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, want %q", c.family, c.is, err, c.want)
		}
	}
}

// Checkpoints are neither quantized nor have they modules for multi-token
// prediction, and their config.json does not say so.
func TestConfigOfCheckpoints(t *testing.T) {
	raw, err := os.ReadFile("testdata/deepseek-fp8/config.json")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := model.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	again, err := model.ParseConfig(cfg.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Quantization == nil || cfg.MTPLayers != 1 || again.Quantization != nil || again.MTPLayers != 0 || again.KVRank != cfg.KVRank || again.Rope != cfg.Rope {
		t.Errorf("%s", cfg.Raw)
	}
}
