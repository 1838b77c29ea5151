/// <reference path="wabridge.d.ts" />

/** @type {wabridge.OnMessage} */
export function onMessage(event, context) {
  if (event.message.tekst) return; // red
  if (event.message.text) return reply({ template: { name: "order_update", language: "en", params: ["1"] } }); // red
  return [tag("ordr"), escalate({ team: "suport" })]; // red
}
