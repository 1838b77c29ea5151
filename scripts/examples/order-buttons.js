// Ask with buttons, and understand the answer.

export function onMessage(event) {
  const { reply: pressed, text = "" } = event.message;
  switch (pressed?.id) {
    case "status":
      return [reply("Please send us the number of your order."), setField("waiting_for", "order-number")];
    case "return":
      return [reply("A colleague will help you with that."), escalate({ reason: "return", team: "returns" })];
  }
  const number = /\d{4,12}/.exec(text);
  if (number && event.contact.fields?.waiting_for === "order-number") {
    return [
      reply(`Thank you. We look up order ${number[0]}.`),
      setField("waiting_for", null),
      escalate({ reason: `status of order ${number[0]}`, priority: "low" }),
    ];
  }
  if (/\border\b/i.test(text)) {
    return reply({
      interactive: {
        type: "button",
        body: { text: "What is it about?" },
        action: {
          buttons: [
            { type: "reply", reply: { id: "status", title: "Where is it?" } },
            { type: "reply", reply: { id: "return", title: "Send it back" } },
          ],
        },
      },
    });
  }
}
