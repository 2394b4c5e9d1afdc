#!/usr/bin/env python3
"""grouse and TRL side by side, on this machine, one after the other.

usage: compare.py run add100     --grouse ./grouse --python VENV/bin/python [--out results.jsonl] [--seeds 1 2 3]
       compare.py run arithmetic --grouse ./grouse --python VENV/bin/python --model FOLDER
       compare.py report         --results results.jsonl --docs docs

run appends a JSON line for each program and seed: a curve of (step, reward, seconds since the command). The two take turns,
so that whatever else the machine does hits both. FOLDER is SmolLM2-135M-Instruct in float32, for both. report writes
docs/comparison.md and its plots (needs matplotlib).
"""
import argparse, glob, json, os, platform, statistics, subprocess, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = {"add100": 400, "arithmetic": 5}
SEEDS = {"add100": [1, 2, 3], "arithmetic": [1]}
SAMPLES = {"add100": 200, "arithmetic": 96}  # completions a step


def stream(command, env, parse):
    """Runs command and returns its curve, peak memory and seconds: parse turns a line of output into a point or None."""
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
    steps, model = STEPS[a.bench], a.model or f"{HERE}/{a.bench}/model"
    for seed in a.seeds or SEEDS[a.bench]:
        home = tempfile.mkdtemp()
        ours = [a.grouse, "run", f"{HERE}/{a.bench}/recipe.yaml", "--json", "--set", f"seed={seed}", "--set", f"model={os.path.abspath(model)}"]
        theirs = [a.python, f"{HERE}/trl_run.py", a.bench, "--seed", str(seed), "--steps", str(steps), "--model", model]
        for program in a.programs:
            if program == "grouse":
                curve, rss, total = stream(ours, {"GROUSE_HOME": home}, grouse_line)
            else:
                if a.bench == "arithmetic":  # the same prompts in the same order
                    order = glob.glob(f"{home}/runs/*/rollouts") or exit("TRL takes the prompts in the order of grouse's run: run grouse too")
                    theirs += ["--order", order[0]]
                curve, rss, total = stream(theirs, {}, trl_line)
            result = {"bench": a.bench, "program": program, "seed": seed, "curve": curve, "peak_rss_mb": rss, "total_s": total, "load1": os.getloadavg()[0], "machine": cpu()}
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
    step = statistics.median(b[2] - a[2] for a, b in zip(curve, curve[1:]))
    return {"steps_to_target": curve[hit][0] if hit is not None else None, "seconds_to_target": round(curve[hit][2], 1) if hit is not None else None,
            "first_step_s": round(curve[0][2], 2), "step_s": round(step, 4), "samples_per_s": round(SAMPLES[r["bench"]] / step, 2),
            "total_s": round(r["total_s"], 1), "peak_rss_mb": round(r["peak_rss_mb"])}


def plot(results, path, window):
    """Reward by step and by time, a mean of so many steps."""
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    plt.rcParams["svg.hashsalt"] = "grouse"
    fig, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for r in results:
        curve = r["curve"]
        y = [statistics.mean(p[1] for p in curve[max(0, i + 1 - window):i + 1]) for i in range(len(curve))]
        color = "#1f77b4" if r["program"] == "grouse" else "#d62728"
        axes[0].plot([p[0] for p in curve], y, color=color, lw=1, label=r["program"] if r["seed"] == results[0]["seed"] else None)
        axes[1].plot([p[2] for p in curve], y, color=color, lw=1)
    for ax, label in zip(axes, ("steps", "seconds since the command")):
        ax.set_xlabel(label)
    axes[0].set_ylabel("sampled reward" + (f", mean of {window} steps" if window > 1 else ""))
    axes[0].legend()
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})


def table(results, keys):
    rows = []
    for r in sorted(results, key=lambda r: (r["program"], r["seed"])):
        s = summary(r)
        rows.append(f"| {r['program']} | {r['seed']} | " + " | ".join(str(s[k]) for k in keys) + " |")
    return "\n".join(rows)


def report(a):
    results = [json.loads(line) for line in open(a.results)]
    os.makedirs(f"{a.docs}/images", exist_ok=True)
    text = open(f"{HERE}/comparison.md.in").read().replace("@MACHINE@", results[0]["machine"]).replace("@NOTE@", a.note)
    for bench, window, keys in (("add100", 10, ["steps_to_target", "seconds_to_target", "first_step_s", "step_s", "peak_rss_mb"]),
                                ("arithmetic", 1, ["samples_per_s", "step_s", "first_step_s", "total_s", "peak_rss_mb"])):
        mine = [r for r in results if r["bench"] == bench]
        plot(mine, f"{a.docs}/images/compare-{bench}.svg", window)
        by = {p: [summary(r) for r in mine if r["program"] == p] for p in ("grouse", "trl")}
        if any(s[keys[0]] is None for v in by.values() for s in v):
            raise SystemExit(f"{bench}: a run did not reach the target: run again with more steps")
        median = {p: {k: statistics.median(s[k] for s in v) for k in keys} for p, v in by.items()}
        for k in keys:
            text = text.replace(f"@{bench}.{k}@", f"{median['trl'][k] / median['grouse'][k]:.1f}")
        text = text.replace(f"@{bench}.memory@", f"{median['grouse']['peak_rss_mb'] / median['trl']['peak_rss_mb']:.2f}")
        text = text.replace(f"@{bench}.speed@", f"{median['trl']['step_s'] / median['grouse']['step_s']:.1f}")
        text = text.replace(f"@{bench}.load@", f"{max(r['load1'] for r in mine):.1f}").replace(f"@{bench}.rows@", table(mine, keys))
        curves = {p: " ".join(f"{pt[1]:.2f}" for r in mine if r["program"] == p for pt in r["curve"]) for p in by} if bench == "arithmetic" else {}
        for p, c in curves.items():
            text = text.replace(f"@{bench}.{p}@", c)
    with open(f"{a.docs}/comparison.md", "w") as f:
        f.write(text)


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
sub = ap.add_subparsers(required=True)
p = sub.add_parser("run")
p.add_argument("bench", choices=list(STEPS))
p.add_argument("--grouse", required=True)
p.add_argument("--python", required=True)
p.add_argument("--model", help="needed for arithmetic")
p.add_argument("--out", default="results.jsonl")
p.add_argument("--seeds", type=int, nargs="+")
p.add_argument("--programs", choices=["grouse", "trl"], nargs="+", default=["grouse", "trl"])
p.set_defaults(do=run)
p = sub.add_parser("report")
p.add_argument("--results", default="results.jsonl")
p.add_argument("--docs", default="docs")
p.add_argument("--note", default="", help="a sentence about how the results were come by")
p.set_defaults(do=report)
a = ap.parse_args()
a.do(a)
