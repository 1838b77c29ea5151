/// <reference path="wabridge.d.ts" />

/**
 * Decides about each message.
 *
 * @param {wabridge.Event} event @param {wabridge.Context} context
 * @returns {wabridge.Decision}
 */
export function onMessage(event, context) {
  const text = event.message.text || "";
  if (/\border\b.*\d+/i.test(text)) {
    return [reply(`Thank you, ${event.contact.name || "dear customer"}, we have noted it.`), tag("order")];
  }
  if (context.conversation.new) {
    return reply(context.settings.greeting || "Hello! How can we help you?");
  }
  return escalate({ reason: "a question for a person" });
}
