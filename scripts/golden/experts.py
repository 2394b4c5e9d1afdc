"""Writes internal/model/testdata/NAME/ for the architectures with experts, latent and sparse attention, in the
format of model.py: a tiny random model as transformers saves it, and golden.safetensors with the logits,
log-probabilities and gradients that transformers and torch autograd compute for it, in float32. Gradients of
experts, which transformers fuses, are split into the names that its files have.

Run: python scripts/golden/experts.py [NAME ...]   (torch, transformers, safetensors; versions are in the metadata)
"""
import json, pathlib, re, shutil, sys
import torch, transformers
from safetensors.torch import load_file, save_file
from transformers import (DeepseekV3Config, DeepseekV3ForCausalLM, DeepseekV32Config, DeepseekV32ForCausalLM,
                          Qwen3MoeConfig, Qwen3MoeForCausalLM)

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal/model/testdata"
COMMON = dict(vocab_size=41, hidden_size=24, intermediate_size=40, num_hidden_layers=2, max_position_embeddings=256,
              eos_token_id=1, bos_token_id=None, pad_token_id=0, initializer_range=0.2)
QWEN = dict(**COMMON, num_attention_heads=4, num_key_value_heads=2, head_dim=8, moe_intermediate_size=8)
DEEPSEEK = dict(**COMMON, num_attention_heads=3, num_key_value_heads=3, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6,
                moe_intermediate_size=8, first_k_dense_replace=1)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=40.0, original_max_position_embeddings=16, beta_fast=32, beta_slow=1,
            mscale=1.0, mscale_all_dim=1.0)
CASES = {
    "qwen3moe": (Qwen3MoeForCausalLM, Qwen3MoeConfig(**QWEN, num_experts=8, num_experts_per_tok=3, norm_topk_prob=True)),
    "qwen3moe-nonorm": (Qwen3MoeForCausalLM, Qwen3MoeConfig(**QWEN, num_experts=6, num_experts_per_tok=2, norm_topk_prob=False,
                        mlp_only_layers=[0], tie_word_embeddings=True)),
    "qwen3moe-one": (Qwen3MoeForCausalLM, Qwen3MoeConfig(**QWEN, num_experts=4, num_experts_per_tok=1, norm_topk_prob=False,
                     decoder_sparse_step=2)),
    # groups, compressed queries, a shared expert, YaRN
    "deepseek": (DeepseekV3ForCausalLM, DeepseekV3Config(**DEEPSEEK, q_lora_rank=12, kv_lora_rank=10, n_routed_experts=8, num_experts_per_tok=3,
                 n_group=4, topk_group=2, n_shared_experts=1, routed_scaling_factor=2.5, norm_topk_prob=True, rope_parameters=YARN)),
    # no groups, plain queries, no shared expert
    "deepseek-plain": (DeepseekV3ForCausalLM, DeepseekV3Config(**DEEPSEEK, q_lora_rank=None, kv_lora_rank=16, n_routed_experts=6, num_experts_per_tok=2,
                       n_group=1, topk_group=1, n_shared_experts=0, routed_scaling_factor=1.0, norm_topk_prob=False, num_nextn_predict_layers=0)),
    # one expert a token, two shared ones, mscale only in the score, biases
    "deepseek-one": (DeepseekV3ForCausalLM, DeepseekV3Config(**DEEPSEEK, q_lora_rank=8, kv_lora_rank=12, n_routed_experts=6, num_experts_per_tok=1,
                     n_group=2, topk_group=1, n_shared_experts=2, routed_scaling_factor=1.5, norm_topk_prob=True, attention_bias=True,
                     rope_parameters=dict(YARN, mscale=0.707, factor=4.0), rope_interleave=False)),
    "deepseek-sparse": (DeepseekV32ForCausalLM, DeepseekV32Config(**DEEPSEEK, q_lora_rank=12, kv_lora_rank=10, n_routed_experts=6, num_experts_per_tok=2,
                        n_group=2, topk_group=1, n_shared_experts=1, routed_scaling_factor=2.5, norm_topk_prob=True, rope_parameters=YARN,
                        index_n_heads=4, index_head_dim=8, index_topk=12, attn_implementation="eager")),
}
# as DeepSeek publishes weights: FP8 in blocks, and the weights of a module for multi-token prediction
CASES["deepseek-fp8"] = CASES["deepseek"]
BLOCK = 16


def quantize(w):
    """Returns FP8 values and one scale for each block of w, the last blocks of a row or column smaller."""
    rows, cols = (-(-n // BLOCK) for n in w.shape)
    scale = torch.empty(rows, cols)
    q = torch.empty(w.shape, dtype=torch.float8_e4m3fn)
    for i in range(rows):
        for j in range(cols):
            at = (slice(i * BLOCK, (i + 1) * BLOCK), slice(j * BLOCK, (j + 1) * BLOCK))
            scale[i, j] = w[at].abs().max() / 448
            q[at] = (w[at] / scale[i, j]).to(torch.float8_e4m3fn)
    return q, scale


def dequantize(q, scale):
    return q.float() * scale.repeat_interleave(BLOCK, 0)[: q.shape[0]].repeat_interleave(BLOCK, 1)[:, : q.shape[1]]


def to_fp8(d, cfg):
    """Turns the weights in the folder into FP8 and returns the numbers that they stand for now."""
    plain, stored = load_file(d / "model.safetensors"), {}
    for n, w in plain.items():
        if w.ndim == 2 and "_proj" in n:
            stored[n], stored[n + "_scale_inv"] = quantize(w)
            plain[n] = dequantize(stored[n], stored[n + "_scale_inv"])
        else:
            stored[n] = w
    stored[f"model.layers.{cfg.num_hidden_layers}.eh_proj.weight"] = torch.randn(cfg.hidden_size, 2 * cfg.hidden_size)
    save_file(plain, d / "model.safetensors")
    dequantized = type_of(cfg).from_pretrained(d).float().eval()
    save_file(stored, d / "model.safetensors")
    config = json.loads((d / "config.json").read_text())
    config["quantization_config"] = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[BLOCK, BLOCK])
    (d / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return dequantized


def type_of(cfg):
    return next(cls for cls, c in CASES.values() if c is cfg)


def stable_topk(scores, k, dim=-1, **_):
    """Ties go to the lower position, as grouse has it; torch leaves them open, and relu makes many scores 0."""
    order = torch.sort(scores, dim=dim, descending=True, stable=True)
    return torch.return_types.topk((order.values.narrow(dim, 0, k), order.indices.narrow(dim, 0, k)))


torch.Tensor.topk = stable_topk  # the indexer's; routers call torch.topk


def unfuse(grads):
    """Splits experts.gate_up_proj [E, 2 size, d] and experts.down_proj [E, d, size] by expert."""
    out = {}
    for n, g in grads.items():
        m = re.fullmatch(r"(.*\.experts)\.(gate_up_proj|down_proj)", n)
        if not m:
            out[n] = g
            continue
        for e in range(g.shape[0]):
            parts = zip(("gate_proj", "up_proj"), g[e].chunk(2)) if m[2] == "gate_up_proj" else [("down_proj", g[e])]
            for name, part in parts:
                out[f"{m[1]}.{e}.{name}.weight"] = part
    return out


for name in sys.argv[1:] or CASES:
    cls, cfg = CASES[name]
    torch.manual_seed(7)
    m = cls(cfg).float().eval()
    with torch.no_grad():  # norms, biases and routers away from 1 and 0, so that they are tested
        for n, p in m.named_parameters():
            if p.ndim == 1:
                p.add_(torch.randn_like(p) * 0.2)
            if n.endswith("mlp.gate.weight"):
                p.copy_(torch.randn_like(p) * 0.3)
        for n, b in m.named_buffers():
            if n.endswith("e_score_correction_bias"):
                b.copy_(torch.randn_like(b) * 0.1)
    d = OUT / name
    shutil.rmtree(d, ignore_errors=True)
    m.save_pretrained(d)
    (d / "generation_config.json").unlink(missing_ok=True)
    if name.endswith("-fp8"):
        m = to_fp8(d, cfg)
    B, T = 3, 40
    ids = torch.randint(2, cfg.vocab_size, (B, T))
    coef = torch.randn(B, T - 1)
    logits = m(input_ids=ids).logits
    lp = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    (coef * lp).sum().backward()
    out = {"ids": ids.int(), "logits": logits.detach(), "coef": coef, "logprobs": lp.detach()}
    for n, g in unfuse({n: p.grad for n, p in m.named_parameters() if p.grad is not None}).items():
        out["grad." + n] = g
    save_file({k: v.contiguous() for k, v in out.items()}, d / "golden.safetensors",
              {"torch": torch.__version__, "transformers": transformers.__version__, "by": "scripts/golden/experts.py"})
    print(name, sum(p.numel() for p in m.parameters()))
