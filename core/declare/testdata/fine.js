/// <reference path="wabridge.d.ts" />

/** @type {wabridge.OnMessage} */
export function onMessage(event, context) {
  const text = event.message.text.trim();
  if (text === "x") return [reply(context.settings.greeting), tag("order")];
  return escalate({ team: "sales", reason: "a question" });
}

test("answers", t => {
  t.message("x", { contact: { name: "Ana", tags: ["order"] } }).expect({ reply: /Hi/, tags: ["order"], escalate: false });
});
