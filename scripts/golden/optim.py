"""Golden numbers for trainer/optim: AdamW, clipping and schedules by PyTorch and transformers.

    python scripts/golden/optim.py    # rewrites trainer/optim/testdata/optim.json
"""
import json
import pathlib

import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

torch.manual_seed(0)
out = {"versions": {"torch": torch.__version__.split("+")[0]}, "adamw": [], "schedules": []}
for decay, clip, betas, eps in ((0.0, 0.0, (0.9, 0.999), 1e-8), (0.1, 1.0, (0.9, 0.95), 1e-8), (0.01, 0.05, (0.8, 0.99), 1e-5)):
    matrix = torch.nn.Parameter(torch.randn(3, 4, dtype=torch.float64))
    bias = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
    case = dict(weight_decay=decay, max_grad_norm=clip, beta1=betas[0], beta2=betas[1], eps=eps, lr=3e-3,
                matrix=matrix.flatten().tolist(), bias=bias.tolist(), steps=[])
    opt = torch.optim.AdamW([dict(params=[matrix], weight_decay=decay), dict(params=[bias], weight_decay=0.0)],
                            lr=3e-3, betas=betas, eps=eps)
    for _ in range(6):
        matrix.grad, bias.grad = torch.randn_like(matrix), torch.randn_like(bias)
        step = dict(matrix_grad=matrix.grad.flatten().tolist(), bias_grad=bias.grad.tolist())
        norm = torch.nn.utils.clip_grad_norm_([matrix, bias], clip if clip else float("inf"))
        opt.step()
        step.update(norm=float(norm), matrix=matrix.flatten().tolist(), bias=bias.tolist())
        case["steps"].append(step)
    out["adamw"].append(case)

for kind, make in (("linear", get_linear_schedule_with_warmup), ("cosine", get_cosine_schedule_with_warmup)):
    for warmup, total in ((0, 10), (3, 12)):
        opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
        sched = make(opt, warmup, total)
        rates = []
        for _ in range(total):
            rates.append(sched.get_last_lr()[0])
            opt.step()
            sched.step()
        out["schedules"].append(dict(kind=kind, warmup=warmup, total=total, lr=2.0, rates=rates))

path = pathlib.Path(__file__).resolve().parents[2] / "trainer/optim/testdata/optim.json"
path.write_text(json.dumps(out, indent=1) + "\n")
