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

export function onMessage(event, context) {
  const { message } = event;
  if (context.conversation.mode === "human") return; // a person has it: we only watch

  if (message.type === "order") {
    return [reply(say("received", event, context)), tag("order")];
  }
  const button = message.reply && message.reply.id;
  if (button && button.toLowerCase().startsWith("confirm")) return confirmed(event, context, button);

  const means = meaning(message);
  if (means.complaint) return handOver(event, context, "complaint", means.language);
  if (means.person) return handOver(event, context, "person", means.language);
  if (means.order && means.cancel) return handOver(event, context, "cancellation", means.language);
  if (means.order && means.confirm && !means.not && !message.text.trim().endsWith("?")) {
    return confirmed(event, context, message.text, means.language);
  }
  if (context.conversation.new && context.settings.greeting !== "") {
    return reply(context.settings.greeting || say("greeting", event, context, means.language));
  }
}

function confirmed(event, context, where, language) {
  const number = /\d{3,12}/.exec(where);
  const actions = [reply(say("confirmed", event, context, language, number && number[0])), tag("order-confirmed")];
  if (number) actions.push(setField("confirmed_order", number[0]));
  return actions;
}

function handOver(event, context, topic, language) {
  const complaint = topic === "complaint";
  return [
    reply(say(complaint ? "complaint" : "person", event, context, language)),
    tag(complaint ? "complaint" : "wants-person"),
    escalate({
      reason: { complaint: "complaint", person: "asked for a person", cancellation: "wants to cancel an order" }[topic],
      priority: complaint ? "high" : "normal",
      team: complaint ? context.settings.complaints_team : undefined,
      note: event.message.text.slice(0, 500),
    }),
  ];
}

// --- What we understand -------------------------------------------------------

// The words that matter, in small letters and without accents: |word|word| and
// their meaning and language, or languages. A word can be two. It is one text
// and no table, because a script starts anew with every message, and a text
// costs nothing until it is looked into.
const WORDS = `
|complain|complaint|complaining|refund|money back|broken|damaged|defective|faulty|never arrived|not arrived|hasnt arrived|didnt arrive|wrong item|wrong order|wrong product|wrong size|scam|fraud|unacceptable|terrible|disappointed|=complaint en
|human|real person|a person|agent|representative|operator|to someone|to somebody|call me|=person en
|cancel|canceled|cancelled|cancelling|cancellation|=cancel en
|confirm|confirmed|confirming|=confirm en
|order|orders|purchase|booking|=order en
|not|dont|cant|cannot|wont|never|=not en
|hello|hi|hey|good morning|good afternoon|good evening|=greeting en
|reembolso|=complaint es pt
|queja|reclamo|reclamacion|devolucion|roto|rota|danado|danada|defectuoso|no llego|no llega|estafa|inaceptable|=complaint es
|humano|operador|=person es pt
|persona real|una persona|agente|asesor|con alguien|llameme|llamenme|=person es
|cancelar|cancelo|cancele|anular|anulo|=cancel es pt
|confirmo|confirmar|confirmado|confirmamos|=confirm es pt
|pedido|pedidos|compra|reserva|=order es pt
|orden|=order es
|no|sin|=not es
|nunca|=not es pt
|hola|buenos dias|buenas|=greeting es
|plainte|reclamation|remboursement|rembourser|casse|abime|endommage|defectueux|pas arrive|pas arrivee|pas recu|arnaque|inacceptable|decu|decue|=complaint fr
|humain|vraie personne|une personne|conseiller|conseillere|operateur|appelez moi|=person fr
|annuler|annule|annulez|annulation|=cancel fr
|confirme|confirmer|confirmee|valide|=confirm fr
|commande|commandes|achat|reservation|=order fr
|ne|pas|jamais|=not fr
|bonjour|salut|bonsoir|=greeting fr
|reclamacao|devolucao|quebrado|quebrada|danificado|danificada|defeito|defeituoso|nao chegou|golpe|inaceitavel|decepcionado|decepcionada|=complaint pt
|pessoa real|uma pessoa|atendente|com alguem|me liguem|=person pt
|cancelamento|=cancel pt
|encomenda|encomendas|=order pt
|nao|sem|=not pt
|ola|oi|bom dia|boa tarde|boa noite|=greeting pt
`;

// Chinese is written without spaces: these are looked for anywhere.
const CHINESE = "complaint 投诉 退款 退货 坏了 损坏 破损 没收到 没有收到 骗子,person 人工 真人 客服,cancel 取消,confirm 确认,order 订单 订购 下单 预订,not 不 别,greeting 你好 您好";

let known; // of this message: mapToCRM asks, too

/** What a message means, such as { order: true, confirm: true, language: "en" }. */
function meaning(message) {
  if (known) return known;
  known = {};
  if (!message.text || message.type === "reaction") return known;
  let text = message.text.slice(0, 500).toLowerCase();
  const parts = text.normalize("NFD"); // accents apart from their letters
  if (parts !== text) text = parts.replace(/[\u0300-\u036f]/g, "");
  const words = text.replaceAll("'", "").replaceAll("’", "").replaceAll("\n", " ").split(" ");
  for (let i = 0, before = ""; i < words.length; i++) {
    let word = words[i];
    const first = word.charCodeAt(0);
    const last = word.charCodeAt(word.length - 1);
    if (first > 0x2000 || last > 0x2000) chinese(word);
    if (!isLetter(first) || !isLetter(last)) word = trim(word);
    if (word === "") continue;
    look(word);
    if (before !== "") look(before + " " + word);
    before = word;
  }
  return known;
}

/** A word without what stands around it: "(order)," is "order". */
function trim(word) {
  let from = 0;
  let to = word.length;
  while (from < to && !isLetter(word.charCodeAt(from))) from++;
  while (to > from && !isLetter(word.charCodeAt(to - 1))) to--;
  return word.slice(from, to);
}

function isLetter(c) {
  return (c >= 97 && c <= 122) || (c >= 48 && c <= 57);
}

function look(word) {
  const at = WORDS.indexOf("|" + word + "|");
  if (at < 0) return;
  const from = WORDS.indexOf("=", at) + 1;
  const [what, language, other] = WORDS.slice(from, WORDS.indexOf("\n", from)).split(" ");
  known[what] = true;
  if (!known.language || (known.unsure && !other)) {
    known.language = language;
    known.unsure = other !== undefined;
  }
}

function chinese(text) {
  for (const line of CHINESE.split(",")) {
    const [what, ...words] = line.split(" ");
    if (!words.some((word) => text.includes(word))) continue;
    known[what] = true;
    known.language = "zh";
  }
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
        order: " del pedido ",
      };
    case "fr":
      return {
        greeting: "Bonjour{name} ! Merci pour votre message. Comment pouvons-nous vous aider ?",
        confirmed: "Merci{name} ! Nous avons noté votre confirmation{order}.",
        received: "Merci{name} ! Nous avons reçu votre commande et la confirmerons sous peu.",
        person: "Bien sûr{name}. Un collègue vous écrira ici.",
        complaint: "Nous en sommes désolés{name}. Un collègue s'en occupe et vous écrira ici.",
        order: " de la commande ",
      };
    case "pt":
      return {
        greeting: "Olá{name}! Obrigado pela sua mensagem. Como podemos ajudar?",
        confirmed: "Obrigado{name}! Registramos a sua confirmação{order}.",
        received: "Obrigado{name}! Recebemos o seu pedido e vamos confirmá-lo em breve.",
        person: "Claro{name}. Um colega vai escrever para você por aqui.",
        complaint: "Lamentamos o ocorrido{name}. Um colega vai verificar e escrever para você por aqui.",
        order: " do pedido ",
      };
    case "zh":
      return {
        greeting: "{name}您好！感谢您的留言，请问有什么可以帮您？",
        confirmed: "{name}谢谢您！我们已收到您的确认{order}。",
        received: "{name}谢谢您！我们已收到您的订单，稍后会与您确认。",
        person: "好的{name}，我们的同事会在这里联系您。",
        complaint: "{name}非常抱歉，我们的同事会尽快处理并在这里联系您。",
        order: "，订单号 ",
      };
    default:
      return {
        greeting: "Hello{name}! Thank you for your message. How can we help you?",
        confirmed: "Thank you{name}! We have noted your confirmation{order}.",
        received: "Thank you{name}! We have received your order and will confirm it shortly.",
        person: "Of course{name}. A colleague will write to you here.",
        complaint: "We are sorry about that{name}. A colleague will look into it and write to you here.",
        order: " of order ",
      };
  }
}

/** One of our texts, in a language, with the first name and the order's number. */
function say(what, event, context, language = context.settings.language, order) {
  const all = texts(language);
  let name = ((event.contact && event.contact.name) || "").trim().split(" ")[0].slice(0, 30);
  if (name !== "" && language !== "zh") name = (what === "greeting" ? " " : ", ") + name;
  return all[what].split("{name}").join(name).split("{order}").join(order ? all.order + order : "");
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
  if (message.type === "order") return "order";
  const means = meaning(message);
  if (means.complaint) return "complaint";
  if (means.person) return "person";
  if (means.order) return means.cancel ? "cancellation" : "order";
  return "other";
}
