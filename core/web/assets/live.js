"use strict";
// Everything on this page comes from outside: it is only ever set as text.
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat();

function el(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}
function row(...cells) {
  const tr = el("tr");
  for (const c of cells) tr.append(c instanceof Node ? c : el("td", c));
  return tr;
}
const figure = (n) => el("td", number.format(n || 0), "n");
function ago(when, now) {
  if (!when) return "–";
  const s = Math.max(0, (now - new Date(when)) / 1000);
  if (s < 1) return "now";
  if (s < 90) return Math.round(s) + " s";
  if (s < 5400) return Math.round(s / 60) + " min";
  if (s < 129600) return Math.round(s / 3600) + " h";
  return Math.round(s / 86400) + " d";
}
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i && n < 10 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}
function list(dl, pairs) {
  dl.replaceChildren(...pairs.map(([k, v]) => { const d = el("div"); d.append(el("dt", k), el("dd", v)); return d; }));
}

const states = {
  running: ["running", "good"], starting: ["starting", "wait"], waiting: ["told to slow down", "wait"],
  down: ["out of reach", "bad"], sign_in: ["needs sign-in", "bad"], stopped: ["stopped", "bad"],
};

function lane(l, now) {
  const [word, mood] = states[l.state] || [l.state, "wait"];
  const state = el("td");
  state.append(el("span", word, "pill " + mood));
  if (l.state !== "running") {
    const until = l.until ? ", next try in " + Math.max(0, Math.ceil((new Date(l.until) - now) / 1000)) + " s" : "";
    if (l.why || until) state.append(el("div", "since " + ago(l.since, now) + until + (l.why ? ": " + l.why : ""), "why"));
  }
  if (l.held) state.append(el("div", l.held + " sent with unknown outcome, waiting for their status", "why"));
  const name = el("td", l.lane);
  if (l.sink && !l.lane.endsWith(l.sink)) name.append(el("div", l.sink, "why"));
  return row(l.tenant, name, state, figure(l.depth), figure(l.in_flight), figure(l.delivered), figure(l.retried), figure(l.dead));
}

const history = [];
function chart(value) {
  history.push(value);
  if (history.length > 300) history.shift();
  const top = Math.max(10, ...history) * 1.1, w = 600, h = 120;
  const x = (i) => (w * (300 - history.length + i)) / 299, y = (v) => h - (h * v) / top;
  const points = history.map((v, i) => x(i).toFixed(1) + "," + y(v).toFixed(1));
  $("line").setAttribute("d", "M" + points.join("L"));
  $("area").setAttribute("d", "M" + x(0).toFixed(1) + "," + h + "L" + points.join("L") + "L" + w + "," + h + "Z");
}

function show(s) {
  const now = new Date(s.time), t = s.totals;
  $("version").textContent = s.version || "";
  $("rate").textContent = number.format(Math.round(s.messages_per_minute));
  $("since").textContent = "up for " + ago(s.started, now);
  chart(s.messages_per_minute);
  list($("totals"), [
    ["Messages in", number.format(t.messages)], ["Sent to WhatsApp", number.format(t.sent)], ["Written to CRMs", number.format(t.written)],
    ["Seen before, dropped", number.format(t.duplicates)], ["Dead letters", number.format(s.dead)], ["In quarantine", number.format(t.quarantine)],
    ["Script fell back", number.format(t.script_errs)], ["Sent twice", number.format(t.double_send)],
  ]);
  $("lanes").replaceChildren(...(s.lanes || []).map((l) => lane(l, now)));
  $("queues").replaceChildren(...(s.queues || []).map((q) => row(q.tenant || "–", q.queue, figure(q.depth), el("td", ago(q.oldest, now), "n"))));
  const errors = (s.lanes || []).filter((l) => l.last_error).sort((a, b) => (a.last_error.time < b.last_error.time ? 1 : -1)).slice(0, 8);
  $("errors").replaceChildren(...(errors.length ? errors.map((l) => {
    const e = l.last_error, li = el("li");
    li.append(el("span", e.error.code, "pill bad"), " " + l.tenant + " " + l.lane + ", " + ago(e.time, now) + " ago: " + e.error.message + (e.error.hint ? " – " + e.error.hint : ""));
    return li;
  }) : [el("li", "none")]));
  $("tenants").replaceChildren(...(s.tenants || []).map((t) => {
    const li = el("li", (t.name || t.id) + " ");
    if (t.script) li.append(el("code", t.script)); else li.append(el("span", "no script", "dim"));
    if (t.script_state === "refused") li.append(" ", el("span", "newest version refused", "pill bad"), el("div", t.script_error, "dim"));
    else if (t.script_state === "off") li.append(" ", el("span", "switched off", "pill bad"), el("div", t.script_error, "dim"));
    return li;
  }));
  list($("store"), [["File", bytes(s.file_size)], ["Free disk", bytes(s.free_disk)], ["Commit p99", s.commit_p99_ms.toFixed(1) + " ms"]]);
  const alarms = [];
  if (s.full) alarms.push("The disk is full: new messages are refused (WhatsApp keeps them and tries again) until there is room.");
  if (s.overdue) alarms.push(s.overdue + " dead letters are past their deadline: see wabridge dead list.");
  if (t.double_send) alarms.push(t.double_send + " messages were sent twice.");
  $("alarms").replaceChildren(...alarms.map((a) => el("p", a)));
}

let last = 0;
function mood(text, className) { $("stream").textContent = text; $("stream").className = "pill " + className; }
const source = new EventSource("/events");
source.onmessage = (m) => { last = Date.now(); mood("live", "good"); show(JSON.parse(m.data)); };
source.onerror = () => mood("no connection: the figures are old", "bad");
setInterval(() => { if (last && Date.now() - last > 5000) mood("nothing for " + Math.round((Date.now() - last) / 1000) + " s: the figures are old", "bad"); }, 1000);
