import faq from "./faq.csv";
import rows from "./faq.toml";
import late from "./tables/late.csv";
import prices from "./prices.json";

export const onMessage: wabridge.OnMessage = (event, context) => {
  console.log("a", 1, { b: 2 });
  if (context.conversation.new) return reply("Hello", { confidence: 0.9 });
  const found = late(event);
  if (found?.name === "late") return escalate({ team: "support", topic: "complaint", reason: found.language });
  if (prices.bread.price > 3) return [tag("order"), untag("complaint"), setField("city", "Porto"), setField("order_id", null)];
  if (event.contact.fields?.city === "Porto" && event.contact.tags?.includes("order")) return cancelTimer("remind");
  return faq(event, context) ?? rows(event, context) ?? timer("remind", { after: "2h", data: { n: 1 } });
};
export const templates = (): wabridge.Decision => [
  reply({ template: { name: "order_update", language: "en", params: ["4711", "today"] } }),
  reply({ template: { name: "order_update", language: "pt_BR", params: ["4711", "today"] } }),
  reply({ template: { name: "welcome", language: "en" } }),
  reply({ template: { name: "welcome", language: "en", params: [] } }),
  reply({ template: { name: "invoice", language: "en", params: { number: "1", amount: "2" } } }),
  reply({ template: { name: "invoice", language: "en", params: ["1", "2"] } }),
  reply({ template: { name: "old", language: "fr", params: ["1", "2", "3"] } }),
  reply({ template: { name: "order_update", language: "en", components: [{ type: "header" }] } }),
  reply({ interactive: { type: "button" } }),
  reply({ text: "https://example.com", preview_url: true }),
];
export const route: wabridge.Route = event => (event.escalation.topic === "complaint" ? "support" : { team: "sales", owner: "ana", priority: "high" });
export const onTimer: wabridge.OnTimer = (event, context) => (event.timer.name === "remind" ? reply(context.settings.answers.hours) : consent({ state: "granted" }));
export const mapFromCRM: wabridge.MapFromCRM = event => ({ fields: { city: String(event.fields?.town) }, tags: ["order"] });
export const mapToCRM: wabridge.MapToCRM = event => ({ anything: event.message.text, at: new Date() });
export const beforeSend: wabridge.BeforeSend = (event, context) => context.settings.open > 8 || "closed";
