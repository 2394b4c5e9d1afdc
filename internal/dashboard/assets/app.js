"use strict";
// Addresses: #/  #/NAME  #/NAME/rollouts/STAGE/STEP/CANDIDATE?color=ratio  #/NAME/recipe  #/NAME/events

const main = document.getElementById("main");
const TABS = [["", "Curves"], ["rollouts", "Rollouts"], ["recipe", "Recipe"], ["events", "Events"]];
let page = { stop() {}, key() {} }; // what is shown now: stop ends its polling, key handles a key

function address() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query || "") };
}

async function show() {
  page.stop();
  hideTip();
  const { parts, query } = address();
  const [name, tab = "", ...rest] = parts;
  crumbs(parts);
  const mine = (page = { stop() { this.over = true; }, key() {}, over: false });
  try {
    if (!name) await runsPage(mine);
    else if (tab === "rollouts") await rolloutsPage(mine, name, rest, query);
    else if (tab === "recipe") await recipePage(mine, name);
    else if (tab === "events") await eventsPage(mine, name);
    else if (tab === "") await curvesPage(mine, name, query);
    else throw new Error(`no page ${tab}`);
  } catch (e) {
    if (!mine.over) main.replaceChildren(el("p.error", null, e.message));
  }
}

function crumbs(parts) {
  const nav = document.getElementById("crumbs");
  nav.replaceChildren(el("a", { href: "#/" }, "runs"));
  if (parts[0]) nav.append(el("span", null, "/"), el("a", { href: "#/" + encodeURIComponent(parts[0]) }, parts[0]));
  document.title = parts[0] ? parts[0] + " · grouse" : "grouse";
}

function tabs(name, current) {
  return el("nav.tabs", null, TABS.map(([key, label]) =>
    el("a", { href: "#/" + encodeURIComponent(name) + (key ? "/" + key : ""), "aria-current": key === current ? "page" : null }, label)));
}

/** every calls fn now and then until the page is over or fn says that nothing more will come. */
async function every(mine, ms, fn) {
  while (!mine.over && (await fn()) !== false) await new Promise((r) => setTimeout(r, document.hidden ? 4 * ms : ms));
}

async function runsPage(mine) {
  const body = el("tbody");
  const empty = el("p.soft", null, "No runs yet: grouse run quickstart");
  const table = el("table", null, el("thead", null, el("tr", null, ["Run", "State", "Stage", "Step", "Reward", "Recipe", "Changed"].map((h) => el("th", null, h)))), body);
  main.replaceChildren(el("h1", null, "Runs"), empty, table);
  await every(mine, 2000, async () => {
    const runs = await api("/runs");
    if (mine.over) return false;
    empty.hidden = runs.length > 0;
    table.hidden = !runs.length;
    body.replaceChildren(...runs.map((r) => el("tr", null,
      el("td", null, el("a", { href: "#/" + encodeURIComponent(r.run) }, r.run)),
      el("td", null, el("span", { class: { done: "good", running: "warn" }[r.state] || "soft" }, r.error ? "unreadable" : r.state)),
      el("td", null, r.error || r.stage || "–"),
      el("td.num", null, r.steps ? `${r.step} / ${r.steps}` : "–"),
      el("td.num", null, short(r.reward)), el("td", null, r.recipe), el("td.soft", null, ago(r.at)))));
  });
}

/** follow feeds the lines of a file to fn as they come. */
async function follow(mine, name, file, fn) {
  let next = 0;
  const live = document.getElementById("live");
  await every(mine, 1000, async () => {
    let got;
    do {
      got = await api(`/runs/${encodeURIComponent(name)}/lines/${file}?from=${next}`);
      if (mine.over) return false;
      const more = got.next > next;
      next = got.next;
      if (got.lines.length || !mine.begun) fn(got.lines);
      mine.begun = true;
      if (!more) break;
    } while (got.lines.length > 0);
    const { state } = (await api("/runs")).find((r) => r.run === name) || {};
    live.textContent = state || "";
    live.className = { done: "good", running: "warn" }[state] || "soft";
  });
}

async function head(name, current) {
  const info = await api("/runs/" + encodeURIComponent(name));
  const s = info.spec;
  const what = [s.recipe !== name ? "recipe " + s.recipe : null, s.preset ? "preset " + s.preset : null, "seed " + s.seed].filter(Boolean).join(" · ");
  return { info, nodes: [el("h1", null, name), el("div.soft", null, what), tabs(name, current)] };
}

function doneTiles(info) {
  const d = info.done;
  if (!d) return null;
  const e = d.eval || {};
  const tile = (label, v) => el("div.tile", null, el("b", null, v), el("span", null, label));
  const out = [];
  for (const k of Object.keys(e.after || {})) if (k !== "prompts") out.push(tile(`held-out ${k}, before → after`, `${short(e.before?.[k])} → ${short(e.after[k])}`));
  out.push(tile("weights", (d.weights_sha256 || "").slice(0, 12)), tile("chain", (d.chain || "").slice(0, 12)));
  return el("div.tiles", null, out);
}

async function curvesPage(mine, name, query) {
  const { info, nodes } = await head(name, "");
  if (mine.over) return;
  const place = el("div.charts");
  const curves = new Curves(place);
  const tiles = el("div.tiles");
  const pick = el("select", { title: "stage" });
  const smooth = el("button", { type: "button", "aria-pressed": "false" }, "smooth (s)");
  main.replaceChildren(...nodes, ...[doneTiles(info)].filter(Boolean), tiles, el("div.toolbar", null, el("label", null, "stage ", pick), smooth), place);
  let chosen = query.has("stage") ? Number(query.get("stage")) : null;
  const draw = () => {
    const stage = chosen ?? curves.latest();
    if (stage == null) return place.replaceChildren(el("p.soft", null, "Nothing was measured yet."));
    curves.draw(stage);
    const have = [...curves.stages.keys()].sort((a, b) => a - b);
    if (pick.options.length !== have.length) pick.replaceChildren(...have.map((i) => el("option", { value: i }, info.spec.stages[i]?.name ?? i)));
    pick.value = String(stage);
    const { x, of } = curves.series(stage);
    const last = (k) => of(k).filter((v) => v != null).at(-1);
    const tile = (label, v) => (v == null ? null : el("div.tile", null, el("b", null, v), el("span", null, label)));
    const tokens = of("num_tokens"), time = of("step_time");
    const i = tokens.length - 1;
    const rate = i > 0 && time[i] ? (tokens[i] - tokens[i - 1]) / time[i] : null;
    tiles.replaceChildren(...[tile("step", `${x.at(-1)} / ${info.spec.stages[stage]?.steps ?? "?"}`),
      ...[["reward", "reward"], ["KL, nats", "kl"], ["entropy, nats", "entropy"], ["tokens a completion", "completions/mean_length"], ["loss", "loss"], ["gradient norm", "grad_norm"], ["seconds a step", "step_time"]]
        .map(([label, k]) => (last(k) == null ? null : tile(label, short(last(k))))), rate == null ? null : tile("trained tokens/s", short(rate))].filter(Boolean));
  };
  pick.addEventListener("change", () => { chosen = Number(pick.value); draw(); });
  const toggle = () => { curves.smooth = !curves.smooth; smooth.setAttribute("aria-pressed", curves.smooth); draw(); };
  smooth.addEventListener("click", toggle);
  mine.key = (k) => { if (k === "s") toggle(); };
  mine.resize = () => curves.resize();
  mine.theme = () => curves.redraw(chosen ?? curves.latest());
  await follow(mine, name, "metrics", (lines) => { curves.add(lines); draw(); });
}

async function rolloutsPage(mine, name, [stage, step, candidate], query) {
  const { info, nodes } = await head(name, "rollouts");
  const steps = await api(`/runs/${encodeURIComponent(name)}/steps`);
  if (mine.over) return;
  const base = "#/" + encodeURIComponent(name) + "/rollouts";
  if (!steps.length) return main.replaceChildren(...nodes, el("p.soft", null, "No step of reinforcement learning is done yet."));
  const colour = COLOURS.find((c) => c.key === query.get("color")) || COLOURS[0];
  const link = (s, cand, col = colour) => `${base}/${s.stage}/${s.step}${cand == null ? "" : "/" + cand}?color=${encodeURIComponent(col.key)}`;
  let at = steps.findIndex((s) => s.stage === Number(stage) && s.step === Number(step));
  if (at < 0) at = steps.length - 1;
  const now = steps[at];
  const got = await api(`/runs/${encodeURIComponent(name)}/rollouts/${now.stage}/${now.step}`);
  if (mine.over) return;
  const here = got.groups.findIndex((g) => g.candidate === Number(candidate));
  const index = Math.max(0, here);
  const group = got.groups[index];

  const go = (href) => { location.hash = href.slice(1); };
  const stepPick = el("select", { title: "step (h, l)", onchange: (e) => go(link(steps[e.target.value])) },
    steps.map((s, i) => el("option", { value: i, selected: i === at }, `${info.spec.stages[s.stage]?.name ?? s.stage} · step ${s.step}`)));
  const colourPick = el("select", { title: "colour (c)", onchange: (e) => go(link(now, group?.candidate, COLOURS[e.target.value])) },
    COLOURS.map((c, i) => el("option", { value: i, selected: c === colour }, c.key)));
  const bar = el("span.scale");
  bar.style.background = `linear-gradient(90deg, transparent, ${tokenColour(1)})`;
  const list = el("div.list", null, got.groups.map((g, i) => groupItem(g, link(now, g.candidate), i === index)));
  for (const g of got.left) list.append(el("a", null, el("div.p.soft", null, g.row_id), el("div.soft", null, `#${g.candidate} · ${g.domain} · ${g.reason || g.state} · mean ${short(g.mean)}`)));
  const right = el("div");
  main.replaceChildren(...nodes, el("div.toolbar", null, stepPick, el("label", null, "colour ", colourPick), bar, el("span.soft", null, colour.about)),
    el("div.soft", null, `trained on: ${got.groups.length} of ${got.groups.length + got.left.length} groups that were drawn`), el("div.split", null, list, right));
  list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  mine.key = (k) => {
    if (k === "h" && at > 0) go(link(steps[at - 1]));
    if (k === "l" && at < steps.length - 1) go(link(steps[at + 1]));
    if (k === "j" && index < got.groups.length - 1) go(link(now, got.groups[index + 1].candidate));
    if (k === "k" && index > 0) go(link(now, got.groups[index - 1].candidate));
    if (k === "c") go(link(now, group?.candidate, COLOURS[(COLOURS.indexOf(colour) + 1) % COLOURS.length]));
  };
  if (!group) return right.append(el("p.soft", null, "No group of this step was trained on."));
  const detail = await api(`/runs/${encodeURIComponent(name)}/rollouts/${now.stage}/${now.step}/${group.candidate}`);
  if (mine.over) return;
  if (detail.warning) right.append(el("p.warn", null, detail.warning));
  right.append(el("div.prompt", null, el("div.soft", null, `${detail.row_id} · ${detail.domain}`), el("div.text", null, detail.prompt.join(""))));
  const draw = () => {
    right.querySelectorAll(".completion").forEach((n) => n.remove());
    for (const c of detail.completions) right.append(completionCard(c, colour));
  };
  draw();
  mine.theme = draw;
}

async function recipePage(mine, name) {
  const { info, nodes } = await head(name, "recipe");
  if (!mine.over) main.replaceChildren(...nodes, el("p.soft", null, `As it was resolved when the run began; settings that were changed since are in the events. The run's files: ${info.folder}`), el("pre", null, info.recipe));
}

async function eventsPage(mine, name) {
  const { info, nodes } = await head(name, "events");
  if (mine.over) return;
  const body = el("tbody");
  main.replaceChildren(...nodes, el("table", null, el("thead", null, el("tr", null, ["Stage", "Step", "What", "", "Epoch"].map((h) => el("th", null, h)))), body));
  await follow(mine, name, "events", (lines) => {
    for (const e of lines) {
      const text = e.text || ["reward", "loss", "eval/accuracy"].filter((k) => e.stats?.[k] != null).map((k) => `${k} ${short(e.stats[k])}`).join(" · ");
      body.prepend(el("tr", null, el("td", null, info.spec.stages[e.stage]?.name ?? "–"), el("td.num", null, String(e.step)), el("td", { class: e.kind === "warning" ? "warn" : "" }, e.kind), el("td", null, text), el("td.num", null, String(e.epoch))));
      if (body.children.length > 1000) body.lastChild.remove();
    }
  });
}

function theme(next) {
  const now = localStorage.getItem("theme") || "";
  const t = next ? { "": "dark", dark: "light", light: "" }[now] : now;
  if (t) document.documentElement.dataset.theme = t;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("theme", t);
  page.theme?.();
}

document.getElementById("theme").addEventListener("click", () => theme(true));
document.getElementById("help").addEventListener("click", () => document.getElementById("keys").showModal());
addEventListener("hashchange", show);
addEventListener("resize", () => page.resize?.());
addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) return;
  const { parts } = address();
  if (e.key === "?") document.getElementById("keys").showModal();
  else if (e.key === "t") theme(true);
  else if (e.key === "g") location.hash = "/";
  else if (parts[0] && TABS[e.key - 1]) location.hash = "/" + encodeURIComponent(parts[0]) + (TABS[e.key - 1][0] ? "/" + TABS[e.key - 1][0] : "");
  else page.key(e.key);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.theme?.());
theme(false);
show();
