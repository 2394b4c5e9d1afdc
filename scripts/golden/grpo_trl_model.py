"""Writes trainer/testdata/grpo_trl_model.json: the parameter gradients of TRL's GRPOTrainer loss on a tiny model.

    python scripts/golden/grpo_trl_model.py    # torch, transformers, trl; after grpo_model.py, whose batch it uses

TRL's own GRPOTrainer._compute_loss runs in float64 on a stand-in that has the trainer's settings; its logprobs are those of
transformers' model (internal/model/testdata/qwen3; reference: testdata/llama3) at the temperature. The form of the file is that of grpo_model.py. TRL
has no kept sets, so the rows are not truncated here.
"""
import json, pathlib
from collections import defaultdict
from types import SimpleNamespace

import torch, transformers, trl
from transformers import AutoModelForCausalLM
from trl import GRPOTrainer

ROOT = pathlib.Path(__file__).resolve().parents[2]
load = lambda name: AutoModelForCausalLM.from_pretrained(ROOT / "internal/model/testdata" / name, dtype=torch.float64, attn_implementation="eager").eval()
policy, reference = load("qwen3"), load("llama3")
batch = json.loads((ROOT / "trainer/testdata/grpo_model.json").read_text())
TAU, CAP, LENGTH = batch["temperature"], 1.1, 50
rows = [(g["prompt"], c) for g in batch["groups"] for c in g["completions"]]
for _, c in rows:
    c["kept"] = [[] for _ in c["ids"]]
for g in batch["groups"]:
    g["domain"] = "b"  # TRL has one strength
P, T = max(len(p) for p, _ in rows), max(len(c["ids"]) for _, c in rows)
pad = lambda x, n, left: torch.tensor([0] * (n - len(x)) + x if left else x + [0] * (n - len(x)))
prompt_ids = torch.stack([pad(p, P, True) for p, _ in rows])
prompt_mask = torch.stack([pad([1] * len(p), P, True) for p, _ in rows])
completion_ids = torch.stack([pad(c["ids"], T, False) for _, c in rows])
attended = torch.stack([pad([1] * len(c["ids"]), T, False) for _, c in rows])
counted = torch.stack([pad(c["mask"], T, False) for _, c in rows])
roll = torch.stack([torch.tensor(c["roll"] + [0.0] * (T - len(c["roll"])), dtype=torch.float64) for _, c in rows])
advantages = []
for g in batch["groups"]:
    r = torch.tensor([c["reward"] for c in g["completions"]], dtype=torch.float64)
    advantages.append((r - r.mean()) / (r.std(unbiased=True) + 1e-6))
advantages = torch.cat(advantages)


def logps(model, *_, **__):
    """Of each completion by itself, padded with 0: [B, T]."""
    out = []
    for p, c in rows:
        ids = torch.tensor([p + c["ids"]])
        lp = (model(input_ids=ids).logits[0, :-1] / TAU).log_softmax(-1).gather(1, ids[0, 1:, None])[len(p) - 1 :, 0]
        out.append(torch.cat([lp, torch.zeros(T - len(lp), dtype=lp.dtype)]))
    return torch.stack(out)


def case(loss_type, beta, bias, opsm, correction):
    me = SimpleNamespace(
        top_entropy_quantile=1.0, off_policy_mask_threshold=opsm, get_off_policy_mask=GRPOTrainer.get_off_policy_mask, temperature=TAU,
        importance_sampling_level="token", beta=beta, loss_type=loss_type, epsilon_low=0.2, epsilon_high=0.28,
        args=SimpleNamespace(use_bias_correction_kl=bias, delta=None, steps_per_generation=1), use_vllm=correction, _entropy_bonus_enabled=False,
        vllm_importance_sampling_correction=correction, current_gradient_accumulation_steps=1, max_completion_length=LENGTH, aux_loss_enabled=False,
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction=None: x),
        model=SimpleNamespace(training=True), _metrics={"train": defaultdict(list)})
    me._get_per_token_logps_and_entropies = lambda model, ids, mask, keep, *a, **k: ((lp := logps(model, ids, mask, keep)), torch.zeros_like(lp), None)
    ids, mask = torch.cat([prompt_ids, completion_ids], 1), torch.cat([prompt_mask, attended], 1)
    with torch.no_grad():
        mine, ref = logps(policy, ids, mask, T), logps(reference, ids, mask, T)
    inputs = dict(prompt_ids=prompt_ids, prompt_mask=prompt_mask, completion_ids=completion_ids, completion_mask=attended, tool_mask=counted,
                  advantages=advantages, old_per_token_logps=mine if correction else roll, sampling_per_token_logps=roll, ref_per_token_logps=ref,
                  num_items_in_batch=counted.sum(), importance_sampling_ratio=torch.exp(mine - roll).clamp(max=CAP))
    policy.zero_grad()
    value = GRPOTrainer._compute_loss(me, policy, inputs)
    value.backward()
    grads = {}
    for n, p in policy.named_parameters():
        x = p.grad.flatten()
        i = torch.arange(1, len(x) + 1, dtype=torch.float64)
        grads[n] = [x.norm().item()] + [(x * torch.cos(0.37 * i * (k + 1))).sum().item() for k in range(4)]
    divergence = ((roll - mine) * counted).sum(1) / counted.sum(1)
    dropped = int(((advantages < 0) & (divergence > opsm)).sum()) if opsm is not None else 0
    config = dict(pi_old="recomputed" if correction else "rollout", level="token", epsilon=0.2, epsilon_high=0.28, delta=opsm, correction=CAP if correction else 0.0,
                  kl="none" if beta == 0 else "k3_is" if bias else "k3", agg={"grpo": "seq_mean_token_mean", "dapo": "token_mean", "dr_grpo": "seq_mean_token_sum_norm"}[loss_type],
                  advantage="mean_std")
    return {"config": config, "loss": value.item(), "dropped": dropped, "grads": grads}


cases = {}
for loss_type in ("grpo", "dapo", "dr_grpo"):
    for beta, bias in ((0.0, False), (0.05, False), (0.05, True)):
        for opsm in (None, 0.1):
            for correction in (False, True):
                name = f"{loss_type} beta={beta} bias={bias} opsm={opsm} correction={correction}"
                cases[name] = case(loss_type, beta, bias, opsm, correction)
                print(name, cases[name]["loss"], cases[name]["dropped"])

out = ROOT / "trainer/testdata/grpo_trl_model.json"
out.write_text(json.dumps({"by": "scripts/golden/grpo_trl_model.py", "trl": trl.__version__, "torch": torch.__version__, "transformers": transformers.__version__,
                           "temperature": TAU, "beta": {"b": 0.05}, "groups": batch["groups"], "cases": cases}) + "\n")
