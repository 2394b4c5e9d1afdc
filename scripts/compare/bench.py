#!/usr/bin/env python3
"""`grouse bench` and its peers in turn, on one machine: medians of several rounds, and their ratios, as a table.

usage: bench.py --grouse ./grouse --python VENV/bin/python --model FOLDER [--gguf F32.gguf] [--rounds 3]
"""
import argparse, json, os, statistics, subprocess

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--grouse", required=True)
ap.add_argument("--python", required=True)
ap.add_argument("--model", required=True)
ap.add_argument("--gguf")
ap.add_argument("--rounds", type=int, default=3)
a = ap.parse_args()
peers = [a.python, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers.py")]
bench = [a.grouse, "bench"]
m = ["--model", a.model]
rows = [
    ("matrix product 1024, GFLOP/s", "gflops", bench + ["matmul", "--json"], peers + ["matmul"], "torch"),
    ("generate 16 × 64, tokens/s", "tokens_per_s", bench + ["generate", "--json"] + m, peers + ["generate"] + m, "transformers"),
    ("train 16 × 128, tokens/s", "tokens_per_s", bench + ["train", "--json"] + m, peers + ["train"] + m, "torch"),
]
if a.gguf:
    rows.insert(2, ("generate 1 × 64, tokens/s", "tokens_per_s", bench + ["generate", "--batch", "1", "--json"] + m, peers + ["llama", "--model", a.gguf], "llama.cpp F32"))


def last(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1])


print("| what | grouse | peer | ratio | peak memory, MB |\n|---|---|---|---|---|")
for name, key, ours, theirs, peer in rows:
    got = [(last(ours), last(theirs)) for _ in range(a.rounds)]
    g, p = (statistics.median(x[i][key] for x in got) for i in (0, 1))
    gm, pm = (statistics.median(x[i].get("peak_rss_mb", 0) for x in got) for i in (0, 1))
    memory = f"{gm:.0f} against {pm:.0f}: {gm / pm:.2f}" if gm else ""
    print(f"| {name} | {g:.1f} | {p:.1f} ({peer}) | {g / p:.2f} | {memory} |", flush=True)
print(f"\nmemory read by torch: {last(peers + ['read'])['gb_per_s']:.1f} GB/s; load {os.getloadavg()[0]:.1f}")
