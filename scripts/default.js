// The default script. It
//
//   - takes note when somebody confirms an order, in words or by a button,
//   - hands complaints, cancellations and wishes for a person to the team,
//   - answers the usual questions: orders, opening hours, prices, where you are,
//   - greets who writes for the first time,
//   - and gives the CRM the fields that the settings ask for.
//
// It understands English, Spanish, French, Portuguese and Chinese. What it
// understands by is in tables/, for a spreadsheet; what it says is below. Change
// both as you like: they are read again when you save them. What a script can
// use is in wabridge.d.ts; `wabridge check` says whether it can be read.
//
// Settings, in tenant.toml under [settings]; all may be left out:
//
//   language = "en"         # of who cannot be told: en, es, fr, pt or zh
//   greeting = "Hello!"     # instead of ours; "" greets nobody
//   complaints_team = "..." # who gets complaints; otherwise the tenant's team
//   examples = false        # go by the tables of phrases only
//   crm_fields = "all"      # what the CRM gets, see mapToCRM below
//
//   [settings.answers]      # instead of ours; "" answers nothing
//   hours = "Monday to Friday, 9:00 to 18:00"
//   location = { en = "12 High Street", es = "Calle Mayor 12" }

import cancel from "./tables/cancel.csv";
import complaints from "./tables/complaints.csv";
import confirm from "./tables/confirm.csv";
import examples from "./tables/examples.csv";
import greetings from "./tables/greetings.csv";
import hours from "./tables/hours.csv";
import location from "./tables/location.csv";
import ok from "./tables/ok.csv";
import optout from "./tables/optout.csv";
import order from "./tables/order.csv";
import orderWords from "./tables/order_words.csv";
import person from "./tables/person.csv";
import product from "./tables/product.csv";
import thanks from "./tables/thanks.csv";
import trouble from "./tables/trouble.csv";

// What a message may be about. The first that fits is it: who complains and
// asks for the opening hours complains.
/** @type {[wabridge.Phrases, string][]} */
const TOPICS = [
  [optout, "opt-out"], // the bridge has answered that already
  [complaints, "complaint"],
  [person, "person"],
  [cancel, "cancellation"],
  [confirm, "confirmation"],
  [ok, "ok"],
  [trouble, "complaint"], // weaker signs of one: who says that there was one may be asking
  [order, "order"],
  [hours, "hours"],
  [location, "location"],
  [product, "product"],
  [orderWords, "order"],
  [thanks, "thanks"],
  [greetings, "greeting"],
];

const PEOPLE = ["complaint", "person", "cancellation"]; // who gets these

// How sure the examples must be, 0 to 1: of what no phrase fits (a hand-over too
// many costs less than one too few, an order confirmed that was not costs most),
// against the phrases of an ordinary question, and firmly against all others.
const SURE = { people: 0.5, unsure: 0.3, other: 0.4, confirmation: 0.7, against: 0.9, firmly: 0.99 };

let known; // of this message: mapToCRM asks, too

/**
 * What a message is about, such as { topic: "order", language: "en" }: by the
 * phrases of the tables first, and where they say little by the examples that
 * the message is like.
 */
function meaning(event, context) {
  if (known) return known;
  known = { topic: "other" };
  const { text, type } = event.message || {};
  if (!text || type === "reaction") return known;
  for (let i = 0; i < TOPICS.length; i++) { // for … of costs three times as much
    const found = TOPICS[i][0](event);
    if (!found) continue;
    known = { topic: TOPICS[i][1], language: found.language || undefined };
    break;
  }
  if (known.topic === "opt-out" || known.topic === "ok" || context.settings.examples === false) return known;
  const like = examples(event);
  if (like) known = weighed(known, like, text);
  return known;
}

/** What phrases have found, or what the examples say that a message is like. */
function weighed(found, like, text) {
  const { complaint, person, cancellation, confirmation } = like.chances;
  const people = complaint + person + cancellation;
  const harmless = like.name === "thanks" || like.name === "product" ? like.sure : 0; // "does it fade?", "refund received, thanks"
  if (PEOPLE.includes(found.topic) && harmless < SURE.firmly) return found;
  if (found.topic === "confirmation" && confirmation > 1 - SURE.firmly) return found;
  const language = found.language || like.language || undefined;
  const unknown = found.topic === "other" || (found.topic === "greeting" && /(\S+\s+){4}\S|[\u4e00-\u9fff，]{9}/.test(text.slice(0, 200)));
  if (people >= (unknown ? SURE.people : SURE.against)) {
    const topic = complaint >= person && complaint >= cancellation ? "complaint" : person >= cancellation ? "person" : "cancellation";
    return { topic, language, words: like.words };
  }
  if (unknown && people >= SURE.unsure) return { topic: "other", language, unsure: true };
  const enough = unknown ? SURE[like.name] || SURE.other : SURE.against;
  return like.name !== "other" && like.sure >= enough ? { topic: like.name, language } : { ...found, language };
}

export function onMessage(event, context) {
  const { message } = event;
  if (context.conversation.mode === "human") return; // a person has it: we only watch

  if (message.type === "order") {
    return [reply(say("received", event, context)), tag("order")];
  }
  const button = message.reply && message.reply.id;
  if (button && button.toLowerCase().startsWith("confirm")) {
    return confirmed(event, context, numberIn(button, /\d{3,12}/));
  }

  const { topic, language, words, unsure } = meaning(event, context);
  switch (topic) {
    case "opt-out":
      return;
    case "complaint":
    case "person":
    case "cancellation":
      return handOver(event, context, topic, language, words);
    case "confirmation":
      return confirmed(event, context, orderNumber(message.text), language);
    case "order":
      return askedForOrder(event, context, language);
    case "hours":
    case "location":
    case "product":
      return answered(event, context, topic, language);
    case "thanks":
      if (!context.conversation.new) return answered(event, context, topic, language);
  }
  if (context.conversation.new) {
    if (context.settings.greeting === "") return;
    return reply(context.settings.greeting || say("greeting", event, context, language));
  }
  if (topic === "other" && (unsure || asks(message.text || ""))) return notUnderstood(event, context, language);
}

const asks = (text) => text.includes("?") || text.includes("？");

function confirmed(event, context, number, language) {
  const actions = [reply(say("confirmed", event, context, language, number)), tag("order-confirmed")];
  if (number) actions.push(setField("confirmed_order", number));
  return actions;
}

function askedForOrder(event, context, language) {
  const number = orderNumber(event.message.text);
  const actions = answered(event, context, number ? "looking" : "order", language, number);
  actions.push(tag("asked-order"));
  if (number) actions.push(setField("asked_order", number));
  return actions;
}

/** An answer of ours, or of the settings. */
function answered(event, context, topic, language, number) {
  const mine = (context.settings.answers || {})[topic === "looking" ? "order" : topic];
  const text = typeof mine === "object" ? mine[language || context.language || context.settings.language || "en"] : mine;
  if (text === "") return [];
  const actions = [reply(text || say(topic, event, context, language, number))];
  if (topic === "hours" || topic === "location" || topic === "product") actions.push(tag("asked-" + topic));
  return actions;
}

/** A question that we do not understand: once we ask, then a person answers. */
function notUnderstood(event, context, language) {
  if ((context.contact.tags || []).includes("not-understood")) {
    return [untag("not-understood"), escalate({ topic: "low_confidence", reason: "not understood twice", note: event.message.text.slice(0, 500) })];
  }
  return [reply(say("unclear", event, context, language)), tag("not-understood")];
}

function handOver(event, context, topic, language, words) {
  const complaint = topic === "complaint";
  return [
    reply(say(complaint ? "complaint" : "person", event, context, language)),
    tag(complaint ? "complaint" : "wants-person"),
    escalate({
      topic: topic === "person" ? "request" : topic,
      reason:
        { complaint: "complaint", person: "asked for a person", cancellation: "wants to cancel an order" }[topic] +
        (words ? ", by examples: " + words.join(", ") : ""),
      priority: complaint ? "high" : "normal",
      team: complaint ? context.settings.complaints_team : undefined,
      note: event.message.text.slice(0, 500),
    }),
  ];
}

/** The number of an order in a text: AB-1029, #18, 66120; no time, and not how many people come. */
function orderNumber(text) {
  const times = /\b(at|a las?|à|às|as)\s+\d{1,2}\b|\d{1,2}([:.h]\d\d|\s?(h|hs|am|pm|people|pers\w*|pess\w*|pax)\b|[点號号位人个](?!订单|訂單|单))/gi;
  return (
    numberIn(text, /(?:#|[Nn][º°]|order|pedido|orden|commande|encomenda|订单|定单|訂單|单号|單號)[^\dA-Za-z#]*(?:(?:number|numero|número|no|nr|n|num)[^\dA-Za-z]*)?#?([A-Za-z]{0,4}-?\d[\dA-Za-z]*(?:-\d+)*)/i) ||
    numberIn(text, /\d[\d-]*\d{2}/) ||
    numberIn(text.slice(0, 2000).replace(times, " "), /[A-Za-z]{0,4}\d[\dA-Za-z]*/)
  );
}

function numberIn(text, pattern) {
  const found = pattern.exec(text.slice(0, 2000));
  return found ? found[1] || found[0] : undefined;
}

// --- What we say --------------------------------------------------------------

function texts(language) {
  switch (language) {
    case "es":
      return {
        greeting: "¡Hola{name}! Gracias por su mensaje. ¿En qué podemos ayudarle?",
        confirmed: "¡Gracias{name}! Hemos anotado su confirmación{order}.",
        received: "¡Gracias{name}! Hemos recibido su pedido y se lo confirmaremos en breve.",
        person: "Por supuesto{name}. Un compañero le escribirá por aquí.",
        complaint: "Lo sentimos{name}. Un compañero lo revisará y le escribirá por aquí.",
        order: "Gracias{name}. Envíenos por favor el número de su pedido y lo revisamos.",
        looking: "Gracias{name}. Hemos anotado su consulta{order} y le responderemos por aquí.",
        hours: "Encontrará nuestro horario en nuestro perfil de WhatsApp: toque nuestro nombre arriba.",
        location: "Encontrará nuestra dirección en nuestro perfil de WhatsApp: toque nuestro nombre arriba.",
        product: "Gracias por su interés{name}. Díganos por favor a qué producto se refiere: un compañero le responderá por aquí.",
        thanks: "¡De nada{name}!",
        unclear: "Disculpe{name}, no hemos entendido bien. ¿Puede decirlo con otras palabras? Escriba «persona» para hablar con alguien.",
        of: " del pedido ",
      };
    case "fr":
      return {
        greeting: "Bonjour{name} ! Merci pour votre message. Comment pouvons-nous vous aider ?",
        confirmed: "Merci{name} ! Nous avons noté votre confirmation{order}.",
        received: "Merci{name} ! Nous avons reçu votre commande et la confirmerons sous peu.",
        person: "Bien sûr{name}. Un collègue vous écrira ici.",
        complaint: "Nous en sommes désolés{name}. Un collègue s'en occupe et vous écrira ici.",
        order: "Merci{name}. Envoyez-nous le numéro de votre commande et nous vérifions.",
        looking: "Merci{name}. Nous avons noté votre question{order} et vous répondrons ici.",
        hours: "Vous trouverez nos horaires dans notre profil WhatsApp : touchez notre nom en haut.",
        location: "Vous trouverez notre adresse dans notre profil WhatsApp : touchez notre nom en haut.",
        product: "Merci de votre intérêt{name}. Dites-nous de quel produit il s'agit : un collègue vous répondra ici.",
        thanks: "Avec plaisir{name} !",
        unclear: "Désolés{name}, nous n'avons pas bien compris. Pouvez-vous le dire autrement ? Écrivez « conseiller » pour parler à quelqu'un.",
        of: " de la commande ",
      };
    case "pt":
      return {
        greeting: "Olá{name}! Obrigado pela sua mensagem. Como podemos ajudar?",
        confirmed: "Obrigado{name}! Registramos a sua confirmação{order}.",
        received: "Obrigado{name}! Recebemos o seu pedido e vamos confirmá-lo em breve.",
        person: "Claro{name}. Um colega vai escrever para você por aqui.",
        complaint: "Lamentamos o ocorrido{name}. Um colega vai verificar e escrever para você por aqui.",
        order: "Obrigado{name}. Envie-nos por favor o número do seu pedido e vamos verificar.",
        looking: "Obrigado{name}. Registramos a sua pergunta{order} e responderemos por aqui.",
        hours: "Nosso horário está no nosso perfil do WhatsApp: toque no nosso nome no topo.",
        location: "Nosso endereço está no nosso perfil do WhatsApp: toque no nosso nome no topo.",
        product: "Obrigado pelo interesse{name}. Diga-nos por favor de que produto se trata: um colega vai responder por aqui.",
        thanks: "De nada{name}!",
        unclear: "Desculpe{name}, não entendemos bem. Pode dizer com outras palavras? Escreva «atendente» para falar com alguém.",
        of: " do pedido ",
      };
    case "zh":
      return {
        greeting: "{name}您好！感谢您的留言，请问有什么可以帮您？",
        confirmed: "{name}谢谢您！我们已收到您的确认{order}。",
        received: "{name}谢谢您！我们已收到您的订单，稍后会与您确认。",
        person: "好的{name}，我们的同事会在这里联系您。",
        complaint: "{name}非常抱歉，我们的同事会尽快处理并在这里联系您。",
        order: "{name}谢谢您。请把订单号发给我们，我们马上查询。",
        looking: "{name}谢谢您。我们已记下您的问题{order}，会在这里答复您。",
        hours: "我们的营业时间请见我们的WhatsApp资料：点击上方我们的名称。",
        location: "我们的地址请见我们的WhatsApp资料：点击上方我们的名称。",
        product: "{name}感谢您的关注。请告诉我们是哪款产品，同事会在这里答复您。",
        thanks: "{name}不客气！",
        unclear: "{name}抱歉，我们没太明白，您可以换个说法吗？回复“人工”可联系同事。",
        of: "，订单号 ",
      };
    default:
      return {
        greeting: "Hello{name}! Thank you for your message. How can we help you?",
        confirmed: "Thank you{name}! We have noted your confirmation{order}.",
        received: "Thank you{name}! We have received your order and will confirm it shortly.",
        person: "Of course{name}. A colleague will write to you here.",
        complaint: "We are sorry about that{name}. A colleague will look into it and write to you here.",
        order: "Thank you{name}. Please send us the number of your order, and we will look into it.",
        looking: "Thank you{name}. We have noted your question{order} and will answer you here.",
        hours: "You find our opening hours in our WhatsApp profile: tap our name at the top.",
        location: "You find our address in our WhatsApp profile: tap our name at the top.",
        product: "Thank you for your interest{name}. Please tell us which product you mean: a colleague will answer you here.",
        thanks: "You are welcome{name}!",
        unclear: "Sorry{name}, we did not quite understand. Could you say it in other words? Write \"person\" to talk to somebody.",
        of: " of order ",
      };
  }
}

/** One of our texts, in a language, with the first name and the order's number. */
function say(what, event, context, language = context.language || context.settings.language, order) {
  const all = texts(language);
  let name = ((event.contact && event.contact.name) || "").trim().split(" ")[0].slice(0, 30);
  if (name !== "" && language !== "zh") name = (what === "greeting" ? " " : ", ") + name;
  return all[what].split("{name}").join(name).split("{order}").join(order ? all.of + order : "");
}

// --- What the CRM gets --------------------------------------------------------

// Beside what its connector writes anyway (who the contact is, and the message). A CRM refuses a property that it does not have, so
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
    topic: message.type === "order" ? "order" : meaning(event, context).topic,
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
