"""Writes internal/model/testdata/greedy64.json: 64 tokens of greedy text by transformers, end tokens ignored, for every
tiny model of that folder, from the first four ids of its golden file.

    python scripts/golden/greedy.py

Needs torch, transformers, safetensors.
"""
import json
import pathlib

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

DIR = pathlib.Path(__file__).resolve().parents[2] / "internal/model/testdata"
NEW = 64


def main():
    out = {}
    for folder in sorted(p for p in DIR.iterdir() if (p / "config.json").exists() and p.name != "deepseek-fp8"):
        config = AutoConfig.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        prompt = load_file(folder / "golden.safetensors")["ids"][:1, :4].long()
        ids, gap = prompt, []
        with torch.no_grad():
            for _ in range(NEW):  # whole sequences each time: no cache to differ by
                top = model(ids, use_cache=False).logits[0, -1].topk(2)
                gap.append(float(top.values[0] - top.values[1]))
                ids = torch.cat([ids, top.indices[:1].view(1, 1)], 1)
        assert min(gap) > 1e-5, (folder.name, min(gap))  # a tie would decide nothing
        out[folder.name] = {"prompt": prompt[0].tolist(), "greedy": ids[0, 4:].tolist()}
        print(folder.name, config.model_type, min(gap), len(set(out[folder.name]["greedy"])))
    (DIR / "greedy64.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
