"use strict";
// Everything on this page comes from outside: it is only ever set as text.
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");

function el(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}
// A cell knows its column's name: on a phone it is shown beside it.
function cell(content, label, className) {
  const td = el("td", undefined, className);
  td.append(content);
  if (label) td.dataset.label = label;
  return td;
}
function row(...cells) {
  const tr = el("tr");
  tr.append(...cells);
  return tr;
}
const figure = (n, label) => cell(number.format(n || 0), label, n ? "n" : "n zero");
function span(s) {
  if (s < 1) return "less than 1 s";
  if (s < 90) return Math.round(s) + " s";
  if (s < 5400) return Math.round(s / 60) + " min";
  if (s < 129600) return Math.round(s / 3600) + " h";
  return Math.round(s / 86400) + " d";
}
const since = (when, now) => span(Math.max(0, (now - new Date(when)) / 1000));
const ago = (when, now) => (now - new Date(when) < 1000 ? "just now" : since(when, now) + " ago");
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i && n < 10 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}
function list(dl, entries) {
  dl.replaceChildren(...entries.map(([term, value, mood]) => {
    const d = el("div");
    d.append(el("dt", term), el("dd", value, mood));
    return d;
  }));
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
    const until = l.until ? "; next try in " + Math.max(0, Math.ceil((new Date(l.until) - now) / 1000)) + " s" : "";
    state.append(el("div", "for " + since(l.since, now) + until + (l.why ? ": " + l.why : ""), "why"));
  }
  if (l.held) state.append(el("div", l.held + " sent with unknown outcome: waiting for a status", "why"));
  const name = cell(l.lane);
  if (l.sink !== "whatsapp" && !l.lane.endsWith("/" + l.sink)) name.append(el("div", l.sink, "why"));
  return row(cell(l.tenant), name, state, figure(l.depth, "waiting"), figure(l.in_flight, "in flight"),
    figure(l.delivered, "delivered"), figure(l.retried, "retried"), figure(l.dead, "dead"));
}

// One who waits for a person to answer.
function waiting(e, now) {
  const about = cell(e.topic || "handed over");
  if (e.priority === "high") about.append(" ", el("span", "high", "pill wait"));
  if (e.reason && e.reason !== e.topic) about.append(el("div", e.reason, "why"));
  about.append(el("code", "wabridge escalation show " + e.id));
  const team = cell(e.team || "–", "");
  if (e.assignee) team.append(el("div", e.assignee.name || e.assignee.id, "why"));
  const left = (new Date(e.deadline) - now) / 1000;
  const deadline = e.overdue || left < 0 ? el("span", "overdue", "pill bad") : el("span", "in " + span(left));
  return row(cell(e.tenant), cell(e.contact_name || "without a name"), about, team,
    cell(since(e.accepted, now), "waiting", "n"), cell(e.deadline ? deadline : "–", "deadline", "n"));
}
function waitingAll(p, now) {
  const first = p.first || [], rest = p.waiting - first.length;
  $("people").replaceChildren(...first.map((e) => waiting(e, now)));
  $("people").parentElement.hidden = !first.length;
  $("people-rest").textContent = !first.length ? "Nobody." : rest > 0 ? number.format(rest) + " more: wabridge escalation list." : "";
}

const most = 300;
let past = [];
function chart(s) {
  if (s.past) past = s.past; // the first word of a stream: what was before it
  past.push(s.messages_per_minute);
  past = past.slice(-most);
  const top = Math.max(10, ...past), w = 600, h = 120;
  const x = (i) => (w * (most - past.length + i)) / (most - 1), y = (v) => h - (h - 2) * v / top;
  const points = past.map((v, i) => x(i).toFixed(1) + "," + y(v).toFixed(1));
  $("line").setAttribute("d", "M" + points.join("L"));
  $("area").setAttribute("d", "M" + x(0).toFixed(1) + "," + h + "L" + points.join("L") + "L" + w + "," + h + "Z");
  $("top").textContent = number.format(Math.round(top));
}

function show(s) {
  const now = new Date(s.time), t = s.totals, lanes = s.lanes || [];
  $("version").textContent = s.version || "";
  $("rate").textContent = number.format(Math.round(s.messages_per_minute));
  $("since").textContent = "running for " + since(s.started, now);
  chart(s);
  const dead = s.dead ? number.format(s.dead) + (s.overdue ? ", " + number.format(s.overdue) + " overdue" : "") : "0";
  list($("totals"), [
    ["Messages in", number.format(t.messages)], ["Sent to WhatsApp", number.format(t.sent)], ["Written to CRMs", number.format(t.written)],
    ["Duplicates", number.format(t.duplicates)], ["Dead letters", dead, s.overdue ? "bad" : s.dead ? "wait" : ""],
    ["In quarantine", number.format(t.quarantine), t.quarantine ? "wait" : ""],
    ["Script errors", number.format(t.script_errs), t.script_errs ? "wait" : ""],
    ["Sent twice", number.format(t.double_send), t.double_send ? "bad" : ""],
  ]);
  $("lanes").replaceChildren(...lanes.map((l) => lane(l, now)));
  waitingAll(s.people || { waiting: 0 }, now);
  const queues = s.queues || [], full = queues.filter((q) => q.depth).sort((a, b) => b.depth - a.depth).slice(0, 20);
  $("queues").replaceChildren(...full.map((q) => row(cell(q.tenant || "–"), cell(q.queue), figure(q.depth), cell(since(q.oldest, now), "", "n"))));
  $("queues").parentElement.hidden = !full.length;
  const rest = queues.length - full.length;
  $("empty").textContent = !rest ? "" : full.length ? number.format(rest) + " others are empty or shorter." : "All " + number.format(rest) + " are empty.";
  const errors = lanes.filter((l) => l.last_error).sort((a, b) => (a.last_error.time < b.last_error.time ? 1 : -1)).slice(0, 6);
  $("errors").replaceChildren(...(errors.length ? errors.map((l) => {
    const e = l.last_error, li = el("li"), head = el("div");
    head.append(el("span", e.error.code, "pill bad"), " ", el("b", l.tenant + " " + l.lane), " ", el("span", ago(e.time, now), "dim"));
    li.append(head, el("div", e.error.message + (e.error.hint ? " → " + e.error.hint : "")));
    return li;
  }) : [el("li", "none", "dim")]));
  $("tenants").replaceChildren(...(s.tenants || []).map((t) => {
    const li = el("li", (t.name || t.id) + " ");
    if (t.script) li.append(el("code", t.script)); else li.append(el("span", "no script", "dim"));
    if (t.shadow) li.append(el("div", `${t.shadow.version} in the shadow: ${t.shadow.decided} decisions, ${t.shadow.changed} others, ${t.shadow.failed} failed`, "why"));
    if (t.script_state === "refused") li.append(" ", el("span", "newest version refused", "pill bad"), el("div", t.script_error, "why"));
    else if (t.script_state === "off") li.append(" ", el("span", "switched off", "pill bad"), el("div", t.script_error, "why"));
    return li;
  }));
  list($("store"), [["File", bytes(s.file_size)], ["Free on disk", bytes(s.free_disk), s.full ? "bad" : ""], ["Commit p99", s.commit_p99_ms.toFixed(1) + " ms"]]);
  const alarms = [];
  if (s.full) alarms.push("The disk is full: new messages are refused until there is room. WhatsApp keeps them and tries again.");
  if (s.overdue) alarms.push(number.format(s.overdue) + (s.overdue === 1 ? " dead letter is" : " dead letters are") + " past the deadline: see wabridge dead list.");
  if (s.people && s.people.overdue) alarms.push(number.format(s.people.overdue) + (s.people.overdue === 1 ? " person waits" : " people wait") + " longer than they should: see wabridge escalation list.");
  for (const a of s.alarms || []) alarms.push(`${a.tenant}: ${a.text}. See wabridge alarm list.`);
  if (t.double_send) alarms.push(number.format(t.double_send) + (t.double_send === 1 ? " message was" : " messages were") + " sent twice.");
  const told = alarms.join("\n");
  if ($("alarms").dataset.told !== told) { // a screen reader speaks it when it changes, not each second
    $("alarms").dataset.told = told;
    $("alarms").replaceChildren(...alarms.map((a) => el("p", a)));
  }
  document.title = (alarms.length ? "(!) " : "") + "wabridge";
}

// What is old must look old.
let last = 0, source;
function mood(text, className) {
  if ($("stream").textContent !== text) $("stream").textContent = text;
  $("stream").className = "pill " + className;
  $("main").classList.toggle("stale", className !== "good");
}
const age = () => (last ? "the figures are " + span((Date.now() - last) / 1000) + " old" : "nothing to show yet");
function connect() {
  source = new EventSource("/events");
  source.onmessage = (m) => {
    last = Date.now();
    mood("live", "good");
    show(JSON.parse(m.data));
  };
}
setInterval(() => {
  if (last && Date.now() - last < 4000) return;
  // The browser connects again by itself, unless it was refused.
  if (source.readyState === EventSource.CLOSED) {
    mood("refused: reload to sign in; " + age(), "bad");
    connect();
  } else if (last || source.readyState === EventSource.CONNECTING) {
    mood("no connection: " + age(), "bad");
  }
}, 2000);
connect();
