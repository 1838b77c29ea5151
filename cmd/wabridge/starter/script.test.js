/// <reference path="wabridge.d.ts" />

test("greets, then hands a question over", t => {
  t.message("Good morning").expect({ reply: true, escalate: false });
  t.message("Do you have rye bread?").expect({ reply: false, escalate: "a question for a person" });
});

test("notes an order", t => {
  t.message("I confirm order 4711", { contact: { name: "Ann" } }).expect({ reply: /Ann/, tags: ["order"] });
});
