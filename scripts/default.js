// The default script. It
//
//   - takes note when somebody confirms an order, in words or by a button,
//   - hands complaints, cancellations and wishes for a person to the team,
//   - greets who writes for the first time,
//   - and gives the CRM the fields that the settings ask for.
//
// It understands English, Spanish, French, Portuguese and Chinese. Change it as
// you like: it is read again when you save it. What a script can use is in
// wabridge.d.ts; `wabridge check` says whether it can be read.
//
// Settings, in tenant.toml under [settings]; all may be left out:
//
//   language = "en"         # of who cannot be told: en, es, fr, pt or zh
//   greeting = "Hello!"     # instead of ours; "" greets nobody
//   complaints_team = "..." # who gets complaints; otherwise the tenant's team
//   crm_fields = "all"      # what the CRM gets, see mapToCRM below

/** What we say, by language. {name} and {order} are filled in. */
const SAY = {
  en: {
    greeting: "Hello{name}! Thank you for your message. How can we help you?",
    confirmed: "Thank you{name}! We have noted your confirmation{order}.",
    received: "Thank you{name}! We have received your order and will confirm it shortly.",
    person: "Of course{name}. A colleague will write to you here.",
    complaint: "We are sorry about that{name}. A colleague will look into it and write to you here.",
    order: " of order ",
  },
  es: {
    greeting: "¡Hola{name}! Gracias por su mensaje. ¿En qué podemos ayudarle?",
    confirmed: "¡Gracias{name}! Hemos anotado su confirmación{order}.",
    received: "¡Gracias{name}! Hemos recibido su pedido y se lo confirmaremos en breve.",
    person: "Por supuesto{name}. Un compañero le escribirá por aquí.",
    complaint: "Lo sentimos{name}. Un compañero lo revisará y le escribirá por aquí.",
    order: " del pedido ",
  },
  fr: {
    greeting: "Bonjour{name} ! Merci pour votre message. Comment pouvons-nous vous aider ?",
    confirmed: "Merci{name} ! Nous avons noté votre confirmation{order}.",
    received: "Merci{name} ! Nous avons reçu votre commande et la confirmerons sous peu.",
    person: "Bien sûr{name}. Un collègue vous écrira ici.",
    complaint: "Nous en sommes désolés{name}. Un collègue s'en occupe et vous écrira ici.",
    order: " de la commande ",
  },
  pt: {
    greeting: "Olá{name}! Obrigado pela sua mensagem. Como podemos ajudar?",
    confirmed: "Obrigado{name}! Registramos a sua confirmação{order}.",
    received: "Obrigado{name}! Recebemos o seu pedido e vamos confirmá-lo em breve.",
    person: "Claro{name}. Um colega vai escrever para você por aqui.",
    complaint: "Lamentamos o ocorrido{name}. Um colega vai verificar e escrever para você por aqui.",
    order: " do pedido ",
  },
  zh: {
    greeting: "{name}您好！感谢您的留言，请问有什么可以帮您？",
    confirmed: "{name}谢谢您！我们已收到您的确认{order}。",
    received: "{name}谢谢您！我们已收到您的订单，稍后会与您确认。",
    person: "好的{name}，我们的同事会在这里联系您。",
    complaint: "{name}非常抱歉，我们的同事会尽快处理并在这里联系您。",
    order: "，订单号 ",
  },
};

// The words, without accents. Each language is one group, in the order of LANGUAGES.
const LANGUAGES = ["en", "es", "fr", "pt", "zh"];

const COMPLAINT =
  /\b(complain\w*|refund|money back|broken|damaged|defective|faulty|never arrived|not arrived|hasnt arrived|wrong (?:item|order|product|size)|scam|fraud|unacceptable|terrible|disappointed)\b|\b(queja|reclamo|reclamacion|reembolso|devolucion|roto|rota|danado|danada|defectuoso|no ha llegado|no llego|estafa|inaceptable|decepcionad[oa])\b|\b(plainte|reclamation|remboursement|rembourser|casse|abime|endommage|defectueux|pas arrivee?|pas recu|arnaque|inacceptable|decue?)\b|\b(reclamacao|reembolso|devolucao|quebrad[oa]|danificad[oa]|defeito|defeituoso|nao chegou|golpe|inaceitavel|decepcionad[oa])\b|(投诉|退款|退货|坏了|损坏|破损|没收到|没有收到|骗子|太差)/;

const PERSON =
  /\b(human|real person|a person|someone real|agent|representative|operator|talk to (?:someone|somebody|a person)|speak (?:to|with) (?:someone|somebody|a person)|call me)\b|\b(humano|persona real|una persona|agente|asesor|operador|hablar con (?:alguien|una persona)|llameme|llamenme)\b|\b(humain|vraie personne|une personne|conseiller|operateur|parler a (?:quelqu un|une personne)|appelez moi)\b|\b(humano|pessoa real|uma pessoa|atendente|operador|falar com (?:alguem|uma pessoa)|me liguem?)\b|(人工|真人|客服|转人工|打电话给我)/;

const CANCEL =
  /\b(cancel\w*)\b|\b(cancelar|cancelo|cancele|anular|anulo)\b|\b(annuler|annule|annulez|annulation)\b|\b(cancelar|cancelo|cancele|cancelamento)\b|(取消)/;

const CONFIRM =
  /\b(confirm|confirmed|confirming|i confirm)\b|\b(confirmo|confirmar|confirmado|confirmamos)\b|\b(confirme|je confirme|confirmer|confirmee?|valide|je valide)\b|\b(confirmo|confirmar|confirmado|confirmamos)\b|(确认)/;

const ORDER = /\b(orders?|purchase|booking)\b|\b(pedido|compra|orden|reserva)\b|\b(commande|achat|reservation)\b|\b(pedido|compra|encomenda|reserva)\b|(订单|订购|下单|预订)/;

const NOT = /\b(not|dont|do not|cant|cannot|wont|never|no|ne|pas|nao|nunca|sin|sem)\b|不|没|别/;

const GREETING = /^ ?(hello|hi|hey|good (?:morning|afternoon|evening))\b|^ ?(hola|buenos dias|buenas)\b|^ ?(bonjour|salut|bonsoir)\b|^ ?(ola|oi|bom dia|boa tarde|boa noite)\b|^ ?(你好|您好|早上好)/;

const NUMBER = /(?:^|\D)(\d{3,12})(?:\D|$)/;

export function onMessage(event, context) {
  const { message } = event;
  if (context.conversation.mode === "human") return; // a person has it: we only watch

  if (message.type === "order") {
    return [reply(say("received", event, context)), tag("order")];
  }
  const button = message.reply ? message.reply.id || "" : "";
  if (/^confirm/i.test(button)) return confirmed(event, context, button);
  if (!message.text || message.type === "reaction") {
    return context.conversation.new ? greet(event, context) : undefined;
  }

  const text = plain(message.text);
  let language = spoken(COMPLAINT, text);
  if (language) {
    return handOver(event, context, "complaint", language, "high", "complaint");
  }
  if ((language = spoken(PERSON, text))) {
    return handOver(event, context, "asked for a person", language, "normal", "person");
  }
  const order = spoken(ORDER, text);
  if (order && (language = spoken(CANCEL, text))) {
    return handOver(event, context, "wants to cancel an order", language, "normal", "person");
  }
  if (order && spoken(CONFIRM, text) && !NOT.test(text) && !/[?？]\s*$/.test(message.text)) {
    return confirmed(event, context, message.text, order);
  }
  if (context.conversation.new) return greet(event, context, spoken(GREETING, text));
}

function confirmed(event, context, where, language) {
  const number = NUMBER.exec(where);
  const actions = [reply(say("confirmed", event, context, language, number && number[1])), tag("order-confirmed")];
  if (number) actions.push(setField("confirmed_order", number[1]));
  return actions;
}

function handOver(event, context, reason, language, priority, words) {
  return [
    reply(say(words, event, context, language)),
    tag(words === "complaint" ? "complaint" : "wants-person"),
    escalate({
      reason,
      priority,
      team: (words === "complaint" && context.settings.complaints_team) || "",
      note: event.message.text.slice(0, 500),
    }),
  ];
}

function greet(event, context, language) {
  const own = context.settings.greeting;
  if (own === "") return;
  return reply(typeof own === "string" ? own : say("greeting", event, context, language));
}

/** One of our texts, in a language. */
function say(what, event, context, language, order) {
  const texts = SAY[language] || SAY[context.settings.language] || SAY.en;
  const name = (event.contact && event.contact.name ? event.contact.name : "").trim().split(/\s+/)[0].slice(0, 30);
  return texts[what]
    .replace("{name}", () => (name === "" ? "" : texts === SAY.zh ? name : what === "greeting" ? " " + name : ", " + name))
    .replace("{order}", () => (order ? texts.order + order : ""));
}

/** The language whose group of a pattern is in the text, or undefined. */
function spoken(pattern, text) {
  const found = pattern.exec(text);
  return found ? LANGUAGES[found.findIndex((group, i) => i > 0 && group !== undefined) - 1] : undefined;
}

/** A text in small letters, without accents and apostrophes. */
function plain(text) {
  return text
    .slice(0, 1000)
    .toLowerCase()
    .normalize("NFD")
    .replace(/[\u0300-\u036f'’]/g, "")
    .replace(/[^a-z0-9\u3400-\u9fff]+/g, " ");
}

// What the CRM gets, beside what its connector writes anyway (who the contact
// is, and the message). A CRM refuses a property that it does not have, so
// nothing is sent unless you say so:
//
//   crm_fields = "all"    # all of them, by their own names: for an API of yours
//
//   [settings.crm_fields] # property of the CRM = one of ours
//   wa_last_message = "last_message"
//   wa_topic = "topic"
export function mapToCRM(event, context) {
  const wanted = context.settings.crm_fields;
  if (!wanted) return;
  const all = core(event, context);
  if (wanted === "all") return all;
  const fields = {};
  for (const property of Object.keys(wanted)) {
    if (!(wanted[property] in all)) {
      throw new Error(`settings.crm_fields: ${property} = "${wanted[property]}": there is no such field, there are ${Object.keys(all).join(", ")}`);
    }
    fields[property] = all[wanted[property]];
  }
  return fields;
}

function core(event, context) {
  const contact = event.contact || {};
  const message = event.message || {};
  const name = (contact.name || "").trim();
  const space = name.lastIndexOf(" ");
  const media = message.media || {};
  return {
    contact_id: contact.id || "",
    name,
    first_name: space < 0 ? name : name.slice(0, space),
    last_name: space < 0 ? "" : name.slice(space + 1),
    phone: contact.phone || "",
    username: contact.username || "",
    tags: (context.contact.tags || []).join(";"),
    topic: topic(message),
    last_message: (message.text || "").slice(0, 1000),
    last_message_type: message.type || "",
    last_message_at: event.time,
    last_attachment: media.mime_type || "",
    came_from: message.referral ? message.referral.source_url || message.referral.source_id || "ad" : "",
    messages: context.conversation.messages,
    conversation_started: context.conversation.started || event.time,
    business_number: event.number || "",
  };
}

/** What a message is about, in a word. */
function topic(message) {
  const text = plain(message.text || "");
  if (message.type === "order") return "order";
  if (COMPLAINT.test(text)) return "complaint";
  if (PERSON.test(text)) return "person";
  if (ORDER.test(text)) return CANCEL.test(text) ? "cancellation" : "order";
  return "other";
}
