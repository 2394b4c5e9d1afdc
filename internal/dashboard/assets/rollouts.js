"use strict";
// The viewer of completions: a step, its groups, the tokens of one group.

/** What tokens are coloured by: a value per token, and how it becomes a colour. */
const COLOURS = [
  { key: "logprob", about: "what the engine reported, nats: the darker the less likely", value: (c, t) => c.logprobs[t], strength: (v) => Math.min(1, -v / 5) },
  { key: "entropy", about: "of the full vocabulary, nats: where the policy hesitates", value: (c, t) => c.entropy?.[t], strength: (v) => Math.min(1, v / 3) },
  { key: "ratio", about: "policy / old policy in the last pass: warm above 1, cool below", value: (c, t) => c.ratio?.[t], strength: (v) => Math.max(-1, Math.min(1, Math.log(v) / 0.4)) },
  { key: "KL", about: "to the reference, before beta, nats", value: (c, t) => c.kl?.[t], strength: (v) => Math.min(1, Math.abs(v) / 0.5) },
  { key: "clipped", about: "the clip cut the token's gradient", value: (c, t) => c.clipped?.[t], strength: (v) => v },
  { key: "masked", about: "left out of the loss: by the mask, or with its whole sequence as too far off policy", value: (c, t) => (c.masked || (c.mask && !c.mask[t]) ? 1 : 0), strength: (v) => v },
  { key: "kept set", about: "how many ids top-k, top-p and min-p left; none: the whole vocabulary", value: (c, t) => c.kept?.[t], strength: (v) => (v ? Math.min(1, Math.log2(v) / 9) : 0) },
];

function tokenColour(strength) {
  if (!strength || !Number.isFinite(strength)) return "";
  const hue = strength > 0 ? "--heat" : "--cool";
  return `rgba(${css(hue)}, ${(0.08 + 0.62 * Math.abs(strength)).toFixed(3)})`;
}

function verdict(s) {
  if (s.correct === true) return "right";
  if (s.correct === false) return "wrong";
  if (s.reward == null) return "";
  return s.reward > 0 ? "part" : "wrong";
}

function groupItem(g, href, current) {
  const dots = el("div.dots", null, g.samples.map((s) => el("i.dot." + (verdict(s) || "none"), { title: `sample ${s.sample}: reward ${short(s.reward)}` })));
  return el("a", { href, "aria-current": current || null },
    el("div.p", null, g.prompt || g.row_id),
    el("div.soft", null, `#${g.candidate} · ${g.domain} · mean ${short(g.mean)}`), dots);
}

function completionCard(c, colour) {
  const head = el("div.head", null,
    el("b", null, "sample " + c.sample),
    el("span", { class: c.correct === true ? "good" : c.correct === false ? "bad" : "" }, "reward " + short(c.reward)),
    el("span", null, "advantage " + short(c.advantage)),
    el("span", null, c.ids.length + " tokens"),
    el("span", { class: c.finish === "length" ? "warn" : "soft" }, c.finish === "length" ? "cut off" : c.finish),
    c.masked ? el("span.warn", null, "off-policy masked") : null);
  for (const [name, v] of Object.entries(c.parts || {})) if (typeof v === "number") head.append(el("span.soft", null, `${name} ${short(v)}`));
  const text = el("div.text");
  c.tokens.forEach((piece, t) => {
    const v = colour.value(c, t);
    const span = el("span.t", { "data-t": t }, piece === "" ? "·" : piece.replace(/\n/g, "↵\n"));
    if (piece === "") span.classList.add("special");
    if (c.masked || (c.mask && !c.mask[t])) span.classList.add("out");
    span.style.backgroundColor = tokenColour(v == null ? 0 : colour.strength(v));
    text.append(span);
  });
  text.addEventListener("mousemove", (e) => {
    const t = e.target.dataset?.t;
    if (t == null) return hideTip();
    const lines = [`token ${t}  id ${c.ids[t]}`, `logprob ${short(c.logprobs[t], 4)}`];
    if (c.entropy?.[t] != null) lines.push(`entropy ${short(c.entropy[t], 4)}`);
    if (c.policy_logprobs?.[t] != null) lines.push(`policy  ${short(c.policy_logprobs[t], 4)}`);
    if (c.ratio?.[t] != null) lines.push(`ratio   ${short(c.ratio[t], 5)}`);
    if (c.kl?.[t] != null) lines.push(`KL      ${short(c.kl[t], 4)}`);
    if (c.kept?.[t] != null) lines.push(`kept    ${c.kept[t] || "all"}`);
    if (c.clipped?.[t]) lines.push("clipped");
    showTip(e, lines.join("\n"));
  });
  text.addEventListener("mouseleave", hideTip);
  const card = el("article.completion", null, head, text);
  if (c.explanation) card.append(el("p.soft", null, c.explanation));
  return card;
}

function tipNode() {
  let tip = document.getElementById("tip");
  if (!tip) document.body.append((tip = el("div", { id: "tip" })));
  return tip;
}
function showTip(e, text) {
  const tip = tipNode();
  tip.textContent = text;
  tip.style.display = "block";
  tip.style.left = Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(e.clientY + 18, innerHeight - tip.offsetHeight - 8) + "px";
}
function hideTip() { tipNode().style.display = "none"; }
