"use strict";
// The curves of a run. A chart is a title, what it tells, and the metrics it shows:
// names, or prefixes that end in "*". Charts without data are not drawn.

const CHARTS = [
  { title: "Reward", about: "mean over completions; held-out points from evaluations", keys: ["reward", "reward_trained", "eval/accuracy", "eval/reward"] },
  { title: "Reward by domain", about: "mean over completions", keys: ["reward/*"] },
  { title: "Each reward", about: "before its weight", keys: ["rewards/*/mean"] },
  { title: "KL", about: "to the reference, nats, before beta", keys: ["kl", "kl/*"] },
  { title: "Entropy", about: "of the full vocabulary at sampling, nats", keys: ["entropy"] },
  { title: "Length", about: "tokens of a completion", keys: ["completions/mean_length", "completions/max_length", "completions/min_length"] },
  { title: "Groups", about: "trained, and why not", keys: ["groups/*", "prompts_drawn"] },
  { title: "Clipped, masked, truncated", about: "shares", keys: ["clip_ratio/region_mean", "off_policy/masked_frac", "off_policy/masked_frac_negative", "completions/clipped_ratio", "kept_set/truncated_frac", "frac_reward_zero_std"] },
  { title: "Engine and trainer", about: "difference of their logprobs, nats; 0 on our own engine", keys: ["sampling/sampling_logp_difference/mean", "sampling/sampling_logp_difference/max", "off_policy/divergence_mean", "off_policy/divergence_p99"] },
  { title: "Importance ratio", about: "of the last update", keys: ["ratio/mean", "ratio/max", "sampling/importance_sampling_ratio/mean"] },
  { title: "Loss", about: "", keys: ["loss", "policy_loss", "kl_loss"] },
  { title: "Gradient norm", about: "before clipping", keys: ["grad_norm"] },
  { title: "Learning rate", about: "", keys: ["learning_rate"] },
  { title: "Kept sets", about: "ids that top-k, top-p and min-p leave", keys: ["kept_set/mean_size", "kept_set/max_size"] },
  { title: "Kept routing", about: "share of expert choices that would differ", keys: ["routing/*"] },
  { title: "Where the time goes", about: "seconds of a step", keys: ["time/*", "step_time"] },
];

const MAX_SERIES = 8;

/** matching lists the metrics that a chart shows, of those there are. */
function matching(keys, names) {
  const out = [];
  for (const key of keys) {
    if (!key.includes("*")) {
      if (names.has(key)) out.push(key);
      continue;
    }
    const [head, rest] = key.split("*");
    for (const n of [...names].sort()) if (n.startsWith(head) && n.endsWith(rest) && !out.includes(n)) out.push(n);
  }
  return out;
}

/** smoothed is an exponential mean that begins at the first value. */
function smoothed(values, factor) {
  let m = null;
  return values.map((v) => (v == null ? null : (m = m == null ? v : factor * m + (1 - factor) * v)));
}

/** Curves holds a run's metrics and draws the charts of one stage; add() as lines arrive. */
class Curves {
  constructor(place) {
    this.place = place;
    this.stages = new Map(); // stage → {steps: Map step → metrics}
    this.plots = [];
    this.smooth = false;
    this.stage = null;
  }

  add(lines) {
    for (const m of lines) {
      if (!this.stages.has(m.stage)) this.stages.set(m.stage, new Map());
      const steps = this.stages.get(m.stage);
      const known = steps.get(m.step) || {};
      steps.set(m.step, Object.assign(known, m.metrics, m.times));
    }
  }

  /** latest returns the last stage that has lines, and its last step's metrics. */
  latest() {
    let stage = null;
    for (const s of this.stages.keys()) if (stage == null || s > stage) stage = s;
    return stage;
  }

  series(stage) {
    const steps = this.stages.get(stage) || new Map();
    const x = [...steps.keys()].sort((a, b) => a - b);
    const names = new Set();
    for (const m of steps.values()) for (const k of Object.keys(m)) names.add(k);
    const of = (name) => x.map((s) => { const v = steps.get(s)[name]; return Number.isFinite(v) ? v : null; });
    return { x, names, of };
  }

  draw(stage) {
    const { x, names, of } = this.series(stage);
    const wanted = CHARTS.map((c) => ({ c, keys: matching(c.keys, names).filter((k) => of(k).some((v) => v != null)).slice(0, MAX_SERIES) }))
      .filter(({ c, keys }) => keys.length && !(c.title !== "Groups" && keys.every((k) => of(k).every((v) => !v))));
    const shape = stage + "|" + wanted.map((w) => w.c.title + ":" + w.keys.join(",")).join("|");
    if (shape !== this.shape) {
      this.shape = shape;
      this.place.replaceChildren();
      this.plots = wanted.map(({ c, keys }) => this.plot(c, keys));
    }
    for (const { u, keys } of this.plots)
      u.setData([x, ...keys.map((k) => (this.smooth && !k.startsWith("eval/") ? smoothed(of(k), 0.9) : of(k)))]);
  }

  plot(chart, keys) {
    const box = el("section.chart", null, el("h3", null, chart.title), el("p", null, chart.about));
    this.place.append(box);
    const label = (k) => (keys.length > 1 || k.includes("/") ? k.replace(/^(groups|time|completions|off_policy|sampling|clip_ratio)\//, "") : k);
    const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
    const u = new uPlot({
      width: Math.max(280, box.clientWidth - 20), height: 190,
      cursor: { sync: { key: "step" } },
      scales: { x: { time: false } },
      axes: [{ ...axis, values: (_, v) => v.map((s) => short(s)) }, { ...axis, size: 56, values: (_, v) => v.map((y) => short(y, 2)) }],
      series: [{ label: "step" }, ...keys.map((k, i) => ({
        label: label(k), stroke: css("--c" + (i % 8)), width: 1.6, spanGaps: true,
        points: { show: k.startsWith("eval/"), size: 6 }, value: (_, v) => short(v),
      }))],
    }, [[], ...keys.map(() => [])], box);
    return { u, keys, box };
  }

  /** resize fits the charts to their boxes. */
  resize() {
    for (const { u, box } of this.plots) u.setSize({ width: Math.max(280, box.clientWidth - 20), height: 190 });
  }

  /** redraw makes the charts anew: the colours have changed. */
  redraw(stage) {
    this.shape = null;
    this.draw(stage);
  }
}
