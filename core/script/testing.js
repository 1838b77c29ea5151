// What a test file finds beside the language. decide(event, context) runs the
// script; line() says where in the test file the caller is.
const __wabridge_tests = [];

function test(name, run) {
  if (typeof name !== "string" || typeof run !== "function") throw new TypeError('test: wants a name and a function: test("greets", t => { … })');
  __wabridge_tests.push({ name, run, line: __wabridge_line() });
}

function __wabridge_show(v) {
  if (v instanceof RegExp || typeof v === "undefined") return String(v);
  return JSON.stringify(v);
}

function __wabridge_fits(want, got) {
  if (want instanceof RegExp) return typeof got === "string" && want.test(got);
  if (Array.isArray(want)) return Array.isArray(got) && want.length === got.length && want.every((w, i) => __wabridge_fits(w, got[i]));
  if (want !== null && typeof want === "object")
    return got !== null && typeof got === "object" && Object.keys(want).every(k => __wabridge_fits(want[k], got[k]));
  return want === got || (want == null && got == null);
}

class __wabridge_Result {
  constructor(d) {
    const of = type => d.actions.filter(a => a.type === type);
    this.actions = d.actions;
    this.replies = of("reply").map(a => a.text !== undefined ? a.text : a.template ? { template: a.template } : a.media ? { media: a.media } : { interactive: a.interactive });
    this.reply = this.replies.length ? this.replies[0] : null;
    this.tags = of("tag").map(a => a.tag);
    this.untags = of("untag").map(a => a.tag);
    this.fields = Object.fromEntries(of("setField").map(a => [a.name, a.value === null || a.value === undefined ? null : String(a.value)]));
    this.escalate = of("escalate").length ? of("escalate")[0] : null;
    this.timers = Object.fromEntries(of("timer").map(a => [a.name, a]));
    this.crm = d.fields;
    this.veto = d.veto;
    this.route = d.route;
    this.error = d.error;
    this.log = d.log;
  }

  expect(want) {
    const wrong = [];
    const differ = (what, w, g) => wrong.push({ what, want: __wabridge_show(w), got: __wabridge_show(g) });
    const list = x => (Array.isArray(x) ? x : [x]).slice().sort();
    const one = (what, w, g) => {
      if (w === true ? g === null : w === false ? g !== null : !__wabridge_fits(w, g)) differ(what, w, g);
    };
    if (want === null || typeof want !== "object") throw new TypeError("expect: wants an object like { reply: /thank you/i }");
    if (this.error && !("error" in want)) differ("error", null, this.error);
    for (const k of Object.keys(want)) {
      const w = want[k];
      switch (k) {
        case "nothing":
          if (w !== !this.actions.length) differ("nothing", w, this.actions);
          break;
        case "reply":
          if (w instanceof RegExp ? !this.replies.some(r => __wabridge_fits(w, r)) : true) one("reply", w, w instanceof RegExp || Array.isArray(w) ? this.replies : this.reply);
          break;
        case "tags": case "untags":
          if (!__wabridge_fits(list(w), list(this[k]))) differ(k, w, this[k]);
          break;
        case "fields": case "crm": case "timers":
          for (const name of Object.keys(w)) {
            const got = (this[k] || {})[name];
            if (w[name] === true && k === "timers" ? got === undefined : !__wabridge_fits(k === "fields" && w[name] != null && !(w[name] instanceof RegExp) ? String(w[name]) : w[name], got)) differ(k + "." + name, w[name], got);
          }
          break;
        case "escalate":
          one("escalate", w, typeof w === "string" || w instanceof RegExp ? (this.escalate ? this.escalate.reason : null) : this.escalate);
          break;
        case "veto": case "route": case "error":
          one(k, w, this[k]);
          break;
        case "log":
          if (!(Array.isArray(w) ? w : [w]).every(x => this.log.some(l => __wabridge_fits(x, l)))) differ("log", w, this.log);
          break;
        default:
          throw new TypeError("expect: there is no " + k + ": there are reply, tags, untags, fields, crm, escalate, timers, veto, route, error, log and nothing");
      }
    }
    if (wrong.length) __wabridge_fail(wrong, this.actions, __wabridge_line());
    return this;
  }
}

// __wabridge_Test is a conversation: tags, fields and who has it are carried on
// from one message to the next.
class __wabridge_Test {
  constructor(base) {
    this.base = base;
    this.contact = { ...base.contact };
    this.conversation = { ...base.conversation };
    this.now = Date.parse("2026-01-05T10:00:00Z");
    this.n = 0;
  }

  message(message, given) {
    if (typeof message === "string") message = { type: "text", text: message };
    const c = this.conversation;
    c.messages = (c.messages || 0) + 1;
    const result = this.event({ kind: "message.received", message: { direction: "in", ...message } }, given);
    c.new = false;
    c.replies = (c.replies || 0) + result.replies.length;
    if (result.escalate) c.mode = "human";
    const tags = new Set(this.contact.tags || []);
    result.tags.forEach(t => tags.add(t));
    result.untags.forEach(t => tags.delete(t));
    this.contact.tags = [...tags].sort();
    this.contact.fields = { ...this.contact.fields };
    for (const [k, v] of Object.entries(result.fields)) {
      if (v === null || v === "") delete this.contact.fields[k];
      else this.contact.fields[k] = v;
    }
    return result;
  }

  event(event, given) {
    given = given || {};
    const own = ["contact", "conversation", "settings", "now", "language", "hours"];
    for (const k of Object.keys(given)) if (!own.includes(k)) throw new TypeError("there is no " + k + " to be given: there are " + own.join(", "));
    Object.assign(this.contact, given.contact);
    Object.assign(this.conversation, given.conversation);
    if (given.now !== undefined) this.now = typeof given.now === "number" ? given.now : Date.parse(given.now);
    if (!(this.now > 0)) throw new TypeError('now: wants a time like "2026-01-05T10:00:00Z"');
    const id = "test-" + ++this.n, time = new Date(this.now).toISOString();
    const e = { id, tenant: this.base.tenant.id, number: "100000000000000", conversation: this.conversation.id, time, accepted: time, source: "test", contact: this.contact, ...event };
    if (e.message) e.message = { id, ...e.message };
    const context = { ...this.base, contact: this.contact, conversation: this.conversation, settings: { ...this.base.settings, ...given.settings } };
    if (given.language !== undefined) context.language = given.language;
    if (given.hours !== undefined) context.hours = given.hours;
    return new __wabridge_Result(JSON.parse(__wabridge_decide(JSON.stringify(e), JSON.stringify(context), this.now)));
  }
}
