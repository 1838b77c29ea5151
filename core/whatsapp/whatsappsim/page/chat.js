"use strict";
// Everything that is shown comes from outside: it is only ever set as text.
const $ = (id) => document.getElementById(id);
let person = "";
let shown = "";

function el(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

async function ask(path, body) {
  const r = await fetch("/_sim/" + path, body && { method: "POST", body: JSON.stringify(body) });
  if (!r.ok) throw new Error(await r.text());
  return r.json();
}

// tried says what went wrong, and shows how it is afterwards.
async function tried(f) {
  try {
    $("problem").textContent = "";
    await f();
    await refresh();
  } catch (e) {
    $("problem").textContent = e.message;
  }
}

// asked is tried, of the person who is chosen.
const asked = (path, body) => tried(() => {
  if (!person) throw new Error("Nobody is chosen: add a customer first.");
  return ask(path, body);
});
const write = (message) => asked("receive", { from: person, number: $("number").value, ...message });

function choice(text, className, message) {
  const b = el("button", text, className);
  b.type = "button";
  b.addEventListener("click", () => write(message));
  return b;
}

// choices are what a person can press below a message.
function choices(line) {
  const box = el("div", undefined, "choices");
  const answer = (kind, id, title, description) => ({ context: line.id, reply: { kind, id, title, description } });
  const action = line.object?.action;
  if (line.type === "interactive") {
    for (const b of action?.buttons ?? []) box.append(choice(b.reply.title, "", answer("button", b.reply.id, b.reply.title)));
    for (const section of action?.sections ?? []) {
      if (section.title) box.append(el("i", section.title));
      for (const r of section.rows ?? []) {
        box.append(choice(r.description ? r.title + " — " + r.description : r.title, "row", answer("list", r.id, r.title, r.description)));
      }
    }
    if (action?.parameters?.display_text) box.append(el("i", "↗ " + action.parameters.display_text + ": " + action.parameters.url));
    if (line.object.type === "location_request_message") box.append(choice("Send a location", "", { context: line.id, location: place }));
  }
  for (const b of line.template?.buttons ?? []) {
    if (b.type === "quick_reply") box.append(choice(b.text, "", answer("template_button", b.payload, b.text)));
    else box.append(el("i", "↗ " + b.text + (b.url ? ": " + b.url : "")));
  }
  return box;
}

const place = { latitude: 40.4168, longitude: -3.7038, name: "Puerta del Sol", address: "Madrid" };

// contents writes what a message says into its bubble.
function contents(li, line) {
  const o = line.object ?? {};
  if (line.context) li.append(el("blockquote", "about " + quoted(line.context)));
  switch (line.type) {
    case "text": li.append(el("span", o.body)); break;
    case "template": {
      const t = line.template ?? {};
      if (t.header) li.append(el("b", t.header));
      li.append(el("span", t.body));
      if (t.footer) li.append(el("i", t.footer));
      break;
    }
    case "interactive": {
      const said = o.button_reply ?? o.list_reply;
      if (said) { li.append(el("span", said.title)); break; }
      if (o.header) li.append(el("b", o.header.text ?? "[" + o.header.type + "]"));
      li.append(el("span", o.body?.text ?? "[" + o.type + "]"));
      if (o.footer) li.append(el("i", o.footer.text));
      break;
    }
    case "button": li.append(el("span", o.text)); break;
    case "location": li.append(el("span", "📍 " + [o.name, o.address].filter(Boolean).join(", ")), el("i", o.latitude + ", " + o.longitude)); break;
    case "reaction": li.append(el("span", o.emoji ? o.emoji : "takes its reaction back")); break;
    case "contacts": for (const c of o) li.append(el("span", "👤 " + (c.name?.formatted_name ?? ""))); break;
    case "image": case "audio": case "video": case "document": case "sticker":
      li.append(el("span", "[" + line.type + "] " + (o.filename ?? o.link ?? "")));
      if (o.caption) li.append(el("span", o.caption));
      break;
    default: li.append(el("span", "[" + line.type + "]"));
  }
}

let lines = [];
function quoted(id) {
  const l = lines.find((one) => one.id === id);
  const o = l?.object ?? {};
  return (l?.template?.body ?? o.body?.text ?? (typeof o.body === "string" ? o.body : "") ?? "").slice(0, 60) || "a message";
}

const ticks = { sent: "✓", delivered: "✓✓", read: "✓✓ read", failed: "failed" };

async function refresh() {
  const [people, numbers, clock] = await Promise.all([ask("people"), ask("numbers"), ask("clock")]);
  if (!person && people.length) person = people[0].phone;
  $("people").replaceChildren(...people.map((p) => {
    const b = el("button");
    b.type = "button";
    b.append(el("span", p.name), el("small", "+" + p.phone + " · " + p.scenario));
    b.setAttribute("aria-current", String(p.phone === person));
    b.addEventListener("click", () => tried(() => { person = p.phone; }));
    const li = el("li");
    li.append(b);
    return li;
  }));
  const was = $("number").value;
  if ($("number").options.length !== numbers.length) {
    $("number").replaceChildren(...numbers.map((n) => { const o = el("option", n.number); o.value = n.number; return o; }));
    if (was) $("number").value = was;
  }
  const line = numbers.find((n) => n.number === $("number").value) ?? numbers[0];
  $("line").textContent = line.status + ", quality " + line.quality;
  $("now").textContent = clock.now.slice(0, 19).replace("T", " ") + (clock.stopped ? " (stands still)" : "");
  if (!person) return;
  const chat = await ask("chat?phone=" + encodeURIComponent(person));
  $("who").textContent = chat.person.name;
  $("known").textContent = [chat.person.username, chat.person.bsuid].filter(Boolean).join(" · ");
  $("block").textContent = chat.blocked.includes($("number").value) ? "Unblock" : "Block";
  lines = chat.lines.filter((l) => l.number === $("number").value);
  const now = JSON.stringify([person, lines]);
  if (now === shown) return; // what somebody is about to press stays where it is
  shown = now;
  $("lines").replaceChildren(...lines.map((l) => {
    const li = el("li", undefined, l.out ? "out" : "in");
    contents(li, l);
    if (l.out) li.append(choices(l));
    li.append(el("small", l.at.slice(11, 16) + (l.out ? " · " + (ticks[l.status] ?? "accepted") : "")));
    return li;
  }));
  $("lines").scrollTop = $("lines").scrollHeight;
}

$("add").addEventListener("submit", (e) => {
  e.preventDefault();
  tried(async () => {
    const p = await ask("people", { phone: $("phone").value, name: $("name").value, scenario: $("scenario").value });
    person = p.phone;
    $("add").reset();
  });
});
$("write").addEventListener("submit", (e) => {
  e.preventDefault();
  const text = $("text").value;
  if (!text) return;
  if (person) $("text").value = "";
  write({ text });
});
$("media").addEventListener("change", () => {
  const type = $("media").value;
  $("media").value = "";
  if (type) write({ type, text: type === "image" ? $("text").value : "", media: { voice: type === "audio", filename: type === "document" ? "a document.pdf" : "" } });
});
$("location").addEventListener("click", () => write({ location: place }));
$("block").addEventListener("click", () => asked("block", { phone: person, number: $("number").value, block: $("block").textContent === "Block" }));
$("report").addEventListener("click", () => asked("block", { phone: person, number: $("number").value, block: true, report: true }));
$("number").addEventListener("change", () => tried(() => {}));
for (const b of document.querySelectorAll("[data-advance]")) b.addEventListener("click", () => tried(() => ask("clock", { advance: b.dataset.advance })));
tried(() => {});
setInterval(() => { refresh().catch((e) => { $("problem").textContent = e.message; }); }, 1000);
