import faq from "./faq.csv";
import late from "./tables/late.csv";
import prices from "./prices.json";
import none from "./none.txt"; // red

export const onMessage: wabridge.OnMessage = (event, context) => {
  if (late(event)?.name === "lte") return []; // red
  if (prices.bred) return []; // red
  if (event.contact.fields?.citty) return []; // red
  if (event.contact.tags?.includes("ordr")) return []; // red
  if (event.mesage.text) return []; // red
  if (context.settings.open === "nine") return []; // red
  fetch("https://example.com"); // red
  setTimeout(() => 1, 1000); // red
  const decided: wabridge.Decision = late(event); // red
  return [
    tag("ordr"), // red
    untag("compliant"), // red
    setField("citty", "Porto"), // red
    setField("city", { a: 1 }), // red
    timer("remnid", { after: "2h" }), // red
    timer("remind", { afer: "2h" }), // red
    cancelTimer("remnid"), // red
    escalate({ team: "suport" }), // red
    escalate({ topic: "complain" }), // red
    escalate({ priority: "urgent" }), // red
    reply({ template: { name: "order_updat", language: "en", params: ["1", "2"] } }), // red
    reply({ template: { name: "order_update", language: "de", params: ["1", "2"] } }), // red
    reply({ template: { name: "order_update", language: "en", params: ["1"] } }), // red
    reply({ template: { name: "order_update", language: "en", params: ["1", "2", "3"] } }), // red
    reply({ template: { name: "order_update", language: "en" } }), // red
    reply({ template: { name: "welcome", language: "en", params: ["1"] } }), // red
    reply({ template: { name: "invoice", language: "en", params: { number: "1", amont: "2" } } }), // red
    reply({ template: { name: "invoice", language: "en", params: { number: "1" } } }), // red
    reply({
      template: { // red
        name: "order_update",
        language: "en",
        params: ["1"],
      },
    }),
    reply({ txt: "x" }), // red
    consent({ state: "yes" }), // red
  ];
};
export const onTimer: wabridge.OnTimer = event => (event.timer.name === "remnid" ? reply("x") : undefined); // red
export const route: wabridge.Route = () => "suport"; // red
export const routes: wabridge.Route = () => ({ owner: "anna" }); // red
export const mapFromCRM: wabridge.MapFromCRM = () => ({ fields: { citty: "x" } }); // red
export const onStatus: wabridge.OnStatus = async event => reply("x"); // red
export const again: wabridge.OnMessage = (event, context) => faq(event); // red
