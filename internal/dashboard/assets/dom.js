"use strict";
// Small helpers. Text from runs enters the document through textContent only.

/** el("p.note", {title: "x"}, "text", child) makes an element. */
function el(spec, attrs, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v == null || v === false) continue;
    if (k.startsWith("on")) node.addEventListener(k.slice(2), v);
    else node.setAttribute(k, v === true ? "" : v);
  }
  for (const c of children.flat()) if (c != null) node.append(c);
  return node;
}

/** api("/runs") fetches JSON from the page's own server; errors say what the server said. */
async function api(path) {
  const r = await fetch("/api" + path);
  const body = await r.json().catch(() => ({ error: "the server's answer is not JSON" }));
  if (!r.ok) throw new Error(body.error + (body.fix ? " → " + body.fix : ""));
  return body;
}

/** A number short enough for a table. */
function short(x, digits = 3) {
  if (x == null || !Number.isFinite(x)) return "–";
  const a = Math.abs(x);
  if (a >= 1e6) return (x / 1e6).toFixed(1) + "M";
  if (a >= 1e4) return (x / 1e3).toFixed(1) + "k";
  if (Number.isInteger(x)) return String(x);
  if (a >= 1000) return x.toFixed(0);
  if (a !== 0 && a < 0.001) return x.toExponential(1);
  return x.toPrecision(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

function ago(unix) {
  if (!unix) return "–";
  const s = Math.max(0, Date.now() / 1000 - unix);
  if (s < 90) return Math.round(s) + " s ago";
  if (s < 5400) return Math.round(s / 60) + " min ago";
  if (s < 129600) return Math.round(s / 3600) + " h ago";
  return Math.round(s / 86400) + " days ago";
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
