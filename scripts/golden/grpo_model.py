"""Writes trainer/testdata/grpo_model.json: the gradient of the whole GRPO loss with respect to the parameters, by torch autograd.

The policy is internal/model/testdata/qwen3, the reference testdata/llama3 (scripts/golden/model.py made both; they share a vocabulary),
in float64. The loss is written from the equations of docs/algorithms.md, not from our code. Of each parameter's gradient the file
holds its 2-norm and four projections sum_i g_i cos(0.37 (i+1) (k+1)), k = 0..3, over the row-major elements.

Run: python scripts/golden/grpo_model.py   (torch, transformers)
"""
import json, pathlib
import torch, transformers
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "internal/model/testdata"
load = lambda name: AutoModelForCausalLM.from_pretrained(DATA / name, dtype=torch.float64, attn_implementation="eager").eval()
policy, reference = load("qwen3"), load("llama3")
g = torch.Generator().manual_seed(11)
V, TAU = policy.config.vocab_size, 0.8

groups = []  # {domain, prompt, completions: [{ids, mask, kept, reward}]}
for c in range(3):
    prompt = torch.randint(2, V, (3 + c,), generator=g).tolist()
    members = []
    for s in range(4):
        ids = torch.randint(2, V, (2 + (5 * c + 3 * s) % 7,), generator=g).tolist()
        mask = [0 if (t + s) % 5 == 4 else 1 for t in range(len(ids))]
        kept = []
        for t, i in enumerate(ids):  # every third row is not truncated
            kept.append([] if t % 3 == 2 else sorted({i, *torch.randint(0, V, (6,), generator=g).tolist()}))
        members.append({"ids": ids, "mask": mask, "kept": kept, "reward": [0.0, 1.0, 0.3, 1.0, 0.0][(2 * c + 3 * s) % 5]})
    groups.append({"domain": "ab"[c % 2], "prompt": prompt, "completions": members})
BETA = {"a": 0.0, "b": 0.05}


def logprobs(m, prompt, c):
    """Of each response token: logits / tau, renormalized over the kept set."""
    z = m(input_ids=torch.tensor([prompt + c["ids"]])).logits[0, len(prompt) - 1 : -1] / TAU
    rows = []
    for t, i in enumerate(c["ids"]):
        row = z[t]
        if c["kept"][t]:
            out = torch.full((V,), float("-inf"), dtype=row.dtype)
            out[c["kept"][t]] = 0
            row = row + out
        rows.append(row.log_softmax(-1)[i])
    return torch.stack(rows)


def loss(cfg, seqs):
    total, N = 0.0, len(seqs)
    tokens = sum(float(s["m"].sum()) for s in seqs)
    for s in seqs:
        n = s["m"].sum()
        pi_old = s["roll"] if cfg["pi_old"] == "rollout" else s["lp"].detach()
        ratio = (s["lp"] - pi_old).exp()
        if cfg["level"] == "sequence":
            used = ((s["lp"] - pi_old) * s["m"]).sum().div(n).exp().expand_as(ratio)
        else:
            used = ratio
        A = s["A"]
        obj = torch.minimum(used * A, used.clamp(1 - cfg["epsilon"], 1 + cfg["epsilon_high"]) * A)
        D = ((s["roll"] - s["lp"].detach()) * s["m"]).sum() / n
        keep = 0.0 if cfg["delta"] is not None and A < 0 and D > cfg["delta"] else 1.0
        s["dropped"] = keep == 0.0
        w = torch.ones_like(ratio)
        if cfg["correction"]:
            w = (s["lp"].detach() - s["roll"]).exp().clamp(max=cfg["correction"])
        kl = 0.0
        if cfg["kl"] != "none":
            u = s["ref"] - s["lp"]
            kl = u.exp() - u - 1
            if cfg["kl"] == "k3_is":
                kl = ratio * kl
        weight = {"seq_mean_token_mean": s["m"] / (N * n), "token_mean": s["m"] / tokens, "seq_mean_token_sum_norm": s["m"] / (N * 50.0)}[cfg["agg"]]
        total = total + (weight * (-obj * keep * w + s["beta"] * kl)).sum()
    return total


V32 = dict(pi_old="rollout", level="token", epsilon=0.2, epsilon_high=0.2, delta=0.1, correction=0.0, kl="k3_is", agg="seq_mean_token_mean", advantage="mean_std")
CONFIGS = {
    "v32": V32,
    "dapo": V32 | dict(kl="none", delta=None, agg="token_mean", epsilon_high=0.28),
    "dr_grpo": V32 | dict(kl="none", delta=None, agg="seq_mean_token_sum_norm", advantage="mean"),
    "gspo": V32 | dict(kl="none", delta=None, level="sequence", epsilon=0.1, epsilon_high=0.1),
    "olmo3": V32 | dict(kl="none", delta=None, pi_old="recomputed", correction=1.1, agg="token_mean", epsilon_high=0.272, advantage="mean"),
    "deepseekmath": V32 | dict(kl="k3", delta=None),
}

with torch.no_grad():
    for grp in groups:
        for c in grp["completions"]:
            lp = logprobs(policy, grp["prompt"], c)
            noise = torch.randn(len(lp), generator=g, dtype=lp.dtype) * 0.25
            # rounded to float32, as engines report it; at most 0
            c["roll"] = [min(0.0, x) for x in (lp + noise).float().tolist()]

cases = {}
for name, cfg in CONFIGS.items():
    policy.zero_grad()
    seqs = []
    for grp in groups:
        r = torch.tensor([c["reward"] for c in grp["completions"]], dtype=torch.float64)
        adv = r - r.mean()
        if cfg["advantage"] == "mean_std":
            adv = adv / (r.std(unbiased=True) + 1e-6)
        for c, A in zip(grp["completions"], adv):
            with torch.no_grad():
                ref = logprobs(reference, grp["prompt"], c)
            seqs.append({"lp": logprobs(policy, grp["prompt"], c), "ref": ref, "roll": torch.tensor(c["roll"], dtype=torch.float64),
                         "m": torch.tensor(c["mask"], dtype=torch.float64), "A": A, "beta": BETA[grp["domain"]]})
    total = loss(cfg, seqs)
    total.backward()
    grads = {}
    for n, p in policy.named_parameters():
        x = p.grad.flatten()
        i = torch.arange(1, len(x) + 1, dtype=torch.float64)
        grads[n] = [x.norm().item()] + [(x * torch.cos(0.37 * i * (k + 1))).sum().item() for k in range(4)]
    cases[name] = {"config": cfg, "loss": total.item(), "dropped": sum(s["dropped"] for s in seqs), "grads": grads}
    print(name, total.item(), cases[name]["dropped"])

out = ROOT / "trainer/testdata/grpo_model.json"
out.parent.mkdir(exist_ok=True)
out.write_text(json.dumps({"by": "scripts/golden/grpo_model.py", "torch": torch.__version__, "transformers": transformers.__version__,
                           "temperature": TAU, "beta": BETA, "groups": groups, "cases": cases}) + "\n")
