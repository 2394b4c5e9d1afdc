"""Golden numbers for trainer/grpo: the loss of TRL's GRPOTrainer and its gradient with respect to every logprob.

    python scripts/golden/grpo_trl.py    # rewrites trainer/grpo/testdata/trl.json (torch, trl)

TRL's own GRPOTrainer._compute_loss runs, on a stand-in for the trainer whose model returns given logprobs, so that
the loss is compared by itself. Float64, CPU. The engine's importance ratio is an input of that method; here it is
min(exp(old - sampling), 2), TRL's token_truncate with cap 2.
"""
import json
import pathlib
from collections import defaultdict
from types import SimpleNamespace

import torch
import trl
from trl import GRPOTrainer

torch.manual_seed(0)
CAP, MAX_TOKENS = 2.0, 12


def batch(spread):
    B, T = 6, 7
    roll = -torch.rand(B, T, dtype=torch.float64) * 2 - 0.05
    mask = torch.ones(B, T, dtype=torch.float64)
    for i in range(B):
        mask[i, int(torch.randint(2, T + 1, (1,))):] = 0
    near = lambda s: (roll + torch.randn(B, T, dtype=torch.float64) * s).clamp(max=-1e-3)
    return dict(lp=near(spread), old=near(spread / 4), roll=roll, ref=near(spread), mask=mask,
                advantages=torch.tensor([1.2, -0.7, 0.3, -1.1, 0.0, -0.4], dtype=torch.float64))


def loss(b, loss_type, beta, delta, level, opsm, bias, correction, eps_high):
    lp = b["lp"].clone().requires_grad_(True)
    accelerator = SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction=None: x)
    me = SimpleNamespace(
        top_entropy_quantile=1.0, off_policy_mask_threshold=opsm, get_off_policy_mask=GRPOTrainer.get_off_policy_mask,
        importance_sampling_level=level, beta=beta, loss_type=loss_type, epsilon_low=0.2, epsilon_high=eps_high,
        args=SimpleNamespace(use_bias_correction_kl=bias, delta=delta, steps_per_generation=1), use_vllm=correction,
        vllm_importance_sampling_correction=correction, current_gradient_accumulation_steps=1, accelerator=accelerator,
        max_completion_length=MAX_TOKENS, model=SimpleNamespace(training=True), _metrics={"train": defaultdict(list)},
        _entropy_bonus_enabled=False, aux_loss_enabled=False,
        _get_per_token_logps_and_entropies=lambda *a, **k: (lp, torch.zeros_like(lp), None))
    inputs = dict(prompt_ids=torch.zeros(6, 1, dtype=torch.long), prompt_mask=torch.ones(6, 1), completion_ids=torch.zeros(6, 7, dtype=torch.long),
                  completion_mask=b["mask"], advantages=b["advantages"], old_per_token_logps=b["old"], sampling_per_token_logps=b["roll"],
                  ref_per_token_logps=b["ref"], num_items_in_batch=b["mask"].sum(), importance_sampling_ratio=torch.exp(b["old"] - b["roll"]).clamp(max=CAP))
    value = GRPOTrainer._compute_loss(me, None, inputs)
    value.backward()
    metrics = {k: v[-1] for k, v in me._metrics["train"].items() if k.startswith("clip_ratio") or k == "kl"}
    return dict(loss=float(value), grad=lp.grad.tolist(), metrics=metrics)


cases = []
for loss_type in ("grpo", "dapo", "dr_grpo"):
    for beta, bias in ((0.0, False), (0.04, False), (0.04, True)):
        for opsm in (None, 0.05):
            for extra in ("", "delta", "sequence", "correction", "clip_higher"):
                if extra == "sequence" and bias:
                    continue  # TRL weighs the KL by the sequence's ratio there, the specification by the token's (1.6)
                cfg = dict(loss_type=loss_type, beta=beta, delta=3.0 if extra == "delta" else None, level="sequence" if extra == "sequence" else "token",
                           opsm=opsm, bias=bias, correction=extra == "correction", eps_high=0.28 if extra == "clip_higher" else 0.2)
                b = batch(0.8 if extra == "delta" else 0.4)
                out = loss(b, **cfg)
                cases.append(dict(config=dict(cfg, is_cap=CAP, max_tokens=MAX_TOKENS), input={k: v.tolist() for k, v in b.items()}, expected=out))

path = pathlib.Path(__file__).resolve().parents[2] / "trainer/grpo/testdata/trl.json"
path.write_text(json.dumps(dict(trl=trl.__version__, torch=torch.__version__.split("+")[0], cases=cases)) + "\n")
print(len(cases), "cases", path)
