#!/usr/bin/env python3
"""grouse and TRL side by side, on this machine, one after the other.

usage: compare.py run   --grouse ./grouse --python VENV/bin/python [--out results.jsonl] [--seeds 1 2 3] [--steps 400]
       compare.py report --results results.jsonl --docs docs

run appends a JSON line for each program and seed: a curve of (step, reward, seconds since the command). The two take turns,
so that whatever else the machine does hits both. report writes docs/comparison.md and its plot (needs matplotlib).
"""
import argparse, json, os, platform, statistics, subprocess, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))


def stream(command, env, parse):
    """Runs command and returns its curve and peak memory: parse turns a line of output into a point or None."""
    began = time.time()
    curve = []
    with tempfile.NamedTemporaryFile("w+") as err:
        p = subprocess.Popen(["/usr/bin/time", "-f", "MAXRSS %M"] + command, stdout=subprocess.PIPE, stderr=err, text=True, env={**os.environ, **env})
        for line in p.stdout:
            point = parse(line)
            if point:
                curve.append([*point, time.time() - began])
        if p.wait():
            err.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{err.read()[-3000:]}")
        err.seek(0)
        rss = int(err.read().split("MAXRSS ")[1]) / 1024
    return curve, rss, time.time() - began


def grouse_line(line):
    e = json.loads(line)
    if e.get("event") == "step":
        return e["step"], e["metrics"]["reward"]


def trl_line(line):
    e = json.loads(line) if line.startswith('{"step"') else {}
    if "step" in e:
        return e["step"], e["reward"]


def run(a):
    for seed in a.seeds:
        for program in ("grouse", "trl"):
            if program == "grouse":
                home = tempfile.mkdtemp()
                command = [a.grouse, "run", f"{HERE}/add100/recipe.yaml", "--json", "--set", f"seed={seed}", "--set", f"steps={a.steps}"]
                curve, rss, total = stream(command, {"GROUSE_HOME": home}, grouse_line)
            else:
                curve, rss, total = stream([a.python, f"{HERE}/add100_trl.py", "--seed", str(seed), "--steps", str(a.steps)], {}, trl_line)
            result = {"program": program, "seed": seed, "curve": curve, "peak_rss_mb": rss, "total_s": total, "load1": os.getloadavg()[0], "machine": cpu()}
            with open(a.out, "a") as f:
                f.write(json.dumps(result) + "\n")
            print(program, seed, json.dumps(summary(result)), flush=True)


def cpu():
    with open("/proc/cpuinfo") as f:
        info = f.read()
    flags = info.split("flags")[1].split("\n")[0]
    return f"{os.cpu_count()} cores, {'AVX-512' if 'avx512f' in flags else 'AVX2'}, {platform.machine()}"


def summary(r, target=0.8):
    """Steps and seconds to the target (mean reward of ten steps, looked at every ten), seconds to the first step and a step."""
    curve = r["curve"]
    hit = next((i for i in range(9, len(curve), 10) if statistics.mean(p[1] for p in curve[i - 9:i + 1]) >= target), None)
    gaps = [b[2] - a[2] for a, b in zip(curve[5:], curve[6:])]
    return {"steps_to_target": curve[hit][0] if hit is not None else None, "seconds_to_target": round(curve[hit][2], 1) if hit is not None else None,
            "first_step_s": round(curve[0][2], 2), "step_s": round(statistics.median(gaps), 4), "peak_rss_mb": round(r["peak_rss_mb"])}


def report(a):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    results = [json.loads(line) for line in open(a.results)]
    os.makedirs(f"{a.docs}/images", exist_ok=True)
    fig, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for r in results:
        curve = r["curve"]
        y = [statistics.mean(p[1] for p in curve[max(0, i - 9):i + 1]) for i in range(len(curve))]
        color = "#1f77b4" if r["program"] == "grouse" else "#d62728"
        axes[0].plot([p[0] for p in curve], y, color=color, lw=1, label=r["program"] if r["seed"] == results[0]["seed"] else None)
        axes[1].plot([p[2] for p in curve], y, color=color, lw=1)
    for ax, label in zip(axes, ("steps", "seconds since the command")):
        ax.axhline(0.8, color="grey", lw=0.5)
        ax.set_xlabel(label)
    axes[0].set_ylabel("sampled reward, mean of ten steps")
    axes[0].legend()
    fig.tight_layout()
    plt.rcParams["svg.hashsalt"] = "grouse"
    fig.savefig(f"{a.docs}/images/compare-add100.svg", metadata={"Date": None})
    rows = []
    for r in sorted(results, key=lambda r: (r["program"], r["seed"])):
        s = summary(r)
        rows.append(f"| {r['program']} | {r['seed']} | {s['steps_to_target']} | {s['seconds_to_target']} | {s['first_step_s']} | {s['step_s']} | {s['peak_rss_mb']} |")
    by = {p: [summary(r) for r in results if r["program"] == p] for p in ("grouse", "trl")}
    if any(s["steps_to_target"] is None for v in by.values() for s in v):
        raise SystemExit("a run did not reach the target: run again with more --steps")
    median = {p: {k: statistics.median(s[k] for s in v) for k in v[0]} for p, v in by.items()}
    ratio = {k: median["trl"][k] / median["grouse"][k] for k in median["grouse"]}
    text = open(f"{HERE}/comparison.md.in").read()
    text = text.replace("@ROWS@", "\n".join(rows)).replace("@MACHINE@", results[0]["machine"]).replace("@LOAD@", f"{max(r['load1'] for r in results):.1f}")
    text = text.replace("@STEP@", f"{ratio['step_s']:.1f}").replace("@TARGET@", f"{ratio['seconds_to_target']:.1f}").replace("@MEMORY@", f"{1 / ratio['peak_rss_mb']:.2f}")
    with open(f"{a.docs}/comparison.md", "w") as f:
        f.write(text)


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
sub = ap.add_subparsers(required=True)
p = sub.add_parser("run")
p.add_argument("--grouse", required=True)
p.add_argument("--python", required=True)
p.add_argument("--out", default="results.jsonl")
p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
p.add_argument("--steps", type=int, default=400)
p.set_defaults(do=run)
p = sub.add_parser("report")
p.add_argument("--results", default="results.jsonl")
p.add_argument("--docs", default="docs")
p.set_defaults(do=report)
a = ap.parse_args()
a.do(a)
