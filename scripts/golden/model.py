"""Writes internal/model/testdata/FAMILY/: a tiny random model as transformers saves it, and golden.safetensors
with what transformers and torch autograd compute for it, in float32:

  ids [B, T]           token ids; logits [B, T, V]
  coef [B, T]          loss = sum coef[b, t] * log p(ids[b, t+1] | ids[b, :t+1]), t < T-1
  logprobs [B, T-1]    grad.NAME: d loss / d NAME;   greedy [N]: greedy continuation of ids[0, :4]

Run: python scripts/golden/model.py   (torch, transformers, safetensors; versions are recorded in the metadata)
"""
import json, pathlib, shutil
import torch, transformers
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal/model/testdata"
COMMON = dict(vocab_size=67, hidden_size=48, intermediate_size=72, num_hidden_layers=2, num_attention_heads=6,
              max_position_embeddings=256, eos_token_id=1, bos_token_id=None, pad_token_id=0, initializer_range=0.15)
CASES = {
    "llama": (LlamaForCausalLM, LlamaConfig(**COMMON, num_key_value_heads=2, tie_word_embeddings=True, rms_norm_eps=1e-5)),
    "llama3": (LlamaForCausalLM, LlamaConfig(**COMMON, num_key_value_heads=3, tie_word_embeddings=False, attention_bias=True, head_dim=12,
               rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                    original_max_position_embeddings=16))),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**COMMON, num_key_value_heads=2, tie_word_embeddings=True)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**COMMON, num_key_value_heads=3, head_dim=16, tie_word_embeddings=False)),
}

for name, (cls, cfg) in CASES.items():
    torch.manual_seed(5)
    m = cls(cfg).float().eval()
    with torch.no_grad():  # norms and biases away from 1 and 0, so that they are tested
        for n, p in m.named_parameters():
            if p.ndim == 1:
                p.add_(torch.randn_like(p) * 0.2)
    d = OUT / name
    shutil.rmtree(d, ignore_errors=True)
    m.save_pretrained(d)
    (d / "generation_config.json").unlink(missing_ok=True)
    B, T = 3, 40
    ids = torch.randint(2, cfg.vocab_size, (B, T))
    coef = torch.randn(B, T - 1)
    logits = m(input_ids=ids).logits
    lp = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    (coef * lp).sum().backward()
    with torch.no_grad():
        g = ids[:1, :4]
        for _ in range(24):
            g = torch.cat([g, m(input_ids=g).logits[:, -1:].argmax(-1)], 1)
    out = {"ids": ids.int(), "logits": logits.detach(), "coef": coef, "logprobs": lp.detach(), "greedy": g[0, 4:].int()}
    for n, p in m.named_parameters():
        out["grad." + n] = p.grad
    save_file({k: v.contiguous() for k, v in out.items()}, d / "golden.safetensors",
              {"torch": torch.__version__, "transformers": transformers.__version__, "by": "scripts/golden/model.py"})
    print(name, sum(p.numel() for p in m.parameters()))
