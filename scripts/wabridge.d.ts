// What a wabridge script sees and returns, for editors and people. Keep it
// beside your script; in a .js file write at the top:
//
//   /// <reference path="wabridge.d.ts" />
//
// and above a hook:
//
//   /** @type {wabridge.OnMessage} */
//
// In a .ts file the types are there without further ado. They are checked by
// your editor only: wabridge removes them.
//
// `wabridge script types` writes this file with the tenant's own names (templates,
// teams, fields, …), so that a wrong one is underlined.

/**
 * Reply to the contact.
 *
 * A text of up to 4096 characters, a template (the only thing that may be sent
 * when the contact last wrote more than 24 hours ago), a file, or an interactive
 * message in the form of WhatsApp's API: buttons, a list, a form.
 *
 * The bridge sends no reply while a person has the conversation, and no more
 * than a set number within some minutes; the trace then says why. With a
 * confidence below the tenant's `min_confidence` a person gets the message
 * instead.
 *
 * @example reply("Thank you!")
 * @example reply("It is on its way.", { confidence: 0.9 })
 * @example reply({ media: { type: "document", link: "https://shop.example/prices.pdf", filename: "prices.pdf", caption: "Our prices" } })
 * @example reply({ template: { name: "order_update", language: "en", params: ["4711"] } })
 */
declare function reply(
  message: string | wabridge.TextReply | wabridge.TemplateReply | wabridge.InteractiveReply | wabridge.MediaReply,
  options?: { /** How sure you are, 0 to 1. */ confidence?: number },
): wabridge.Action;

/** Put a tag on the contact; up to 100 characters. Twice is once. */
declare function tag(name: wabridge.Tag): wabridge.Action;

/** Take a tag off the contact. */
declare function untag(name: wabridge.Tag): wabridge.Action;

/**
 * Set a field of the contact, which the next event sees as
 * `event.contact.fields[name]`, as text. null and "" remove it.
 */
declare function setField(name: wabridge.Field, value: string | number | boolean | null): wabridge.Action;

/**
 * Hand the conversation to a person or team: the CRM is told, and the bridge
 * sends no automatic replies until the time for it is up. A string is the reason.
 */
declare function escalate(to?: wabridge.EscalateOptions | string): wabridge.Action;

/**
 * A test, in a file beside the script whose name ends in .test.js or .test.ts.
 * `wabridge script test` runs it, in a process without files and network as
 * scripts have, and says which lines of the script did not run.
 *
 * @example
 * test("notes an order", t => {
 *   t.message("I confirm order 4711").expect({ reply: /noted/i, tags: ["order"], escalate: false });
 * });
 */
declare function test(name: string, run: (t: wabridge.Test) => void): void;

/**
 * Have onTimer called later, in this conversation. A timer of the same name is
 * replaced. It survives restarts; a year is the longest.
 *
 * @example timer("remind", { after: "2h", data: { order: 4711 } })
 */
declare function timer(name: wabridge.TimerName, options: { /** "30m", "2h", "1d12h" or milliseconds. */ after: string | number; /** At most 4 KiB as JSON. */ data?: any }): wabridge.Action;

/** Forget a timer of this conversation. */
declare function cancelTimer(name: wabridge.TimerName): wabridge.Action;

/**
 * Take down that the contact agreed to marketing messages, or does not any
 * longer. Words such as STOP are understood without it. What the person ended
 * themselves, only they can take back.
 */
declare function consent(change: { level?: "marketing"; state: "granted" | "withdrawn"; /** What shows it. */ evidence?: string }): wabridge.Action;

// Files that a script imports. A CSV file is a decision table, or one of phrases or examples.
// files: of this tenant, unless this is the general file
declare module "*.csv" {
  const table: wabridge.AnyTable;
  export default table;
}
declare module "*.toml" {
  const table: wabridge.Table;
  export default table;
}
declare module "*.json" {
  const value: any;
  export default value;
}
// files end

/** At most 20 lines of 500 characters, which the trace of the event shows (`wabridge why`). */
interface Console {
  log(...data: any[]): void;
}
declare var console: Console;

declare namespace wabridge {
  // names: of this tenant, unless this is the general file
  type Team = string;
  type Owner = string;
  type Topic = "complaint" | "keyword" | "low_confidence" | "messages" | "request" | "script" | (string & {});
  type Tag = string;
  type Field = string;
  type TimerName = string;
  type Settings = Readonly<Record<string, any>>;
  type TemplateMessage = AnyTemplate;
  // names end

  /** A template to send: params are those of its body; components are WhatsApp's own form, for what cannot be said in short. */
  type TemplateOf<Name extends string, Language extends string, Params> =
    | ({ readonly name: Name; readonly language: Language; readonly components?: undefined } & TemplateParts & ([] extends Params ? { readonly params?: Params } : { readonly params: Params }))
    | { readonly name: Name; readonly language: Language; readonly params?: undefined; readonly components: readonly object[] };
  interface TemplateParts {
    readonly header?: TemplateHeader;
    /** Values of the buttons that have variables. */
    readonly buttons?: readonly TemplateButton[];
    /** Those of a carousel, in order. */
    readonly cards?: readonly TemplateCard[];
    /** When a limited-time offer ends, as a date's toISOString(). */
    readonly offer_ends?: string;
  }
  /** One of these. A file is an id at WhatsApp, or an address that WhatsApp fetches. */
  interface TemplateHeader {
    readonly text?: string | Readonly<Record<string, string>>;
    readonly image?: { readonly id?: string; readonly link?: string; readonly hash?: string };
    readonly video?: { readonly id?: string; readonly link?: string; readonly hash?: string };
    readonly document?: { readonly id?: string; readonly link?: string; readonly hash?: string; readonly filename?: string };
    readonly location?: { readonly latitude: number; readonly longitude: number; readonly name?: string; readonly address?: string };
    readonly product?: { readonly product_retailer_id: string; readonly catalog_id: string };
  }
  /** The index counts all buttons of the template from 0; beside it one of the others. */
  interface TemplateButton {
    readonly index: number;
    /** What comes back when a quick reply is pressed. */
    readonly payload?: string;
    /** What follows in an address. */
    readonly url?: string;
    /** A code to copy. */
    readonly code?: string;
    /** A flow's token, and what the flow begins with. */
    readonly flow?: string;
    readonly flow_data?: object;
    /** The product whose picture a catalog's button shows. */
    readonly catalog?: string;
  }
  interface TemplateCard {
    readonly params?: AnyParams;
    readonly header?: TemplateHeader;
    readonly buttons?: readonly TemplateButton[];
  }
  type AnyTemplate = TemplateOf<string, string, AnyParams>;
  type AnyParams = readonly string[] | Readonly<Record<string, string>>;
  type NoParams = readonly [];

  /**
   * Decides what to do about a message from a contact. Like all hooks it must
   * return within 50 ms; no async, no await, no promises.
   */
  type OnMessage = (event: MessageEvent, context: Context) => Decision;

  /** Decides what to do when a message of ours moved forward: event.status. */
  type OnStatus = (event: StatusEvent, context: Context) => Decision;

  /** Decides what to do when a timer is due: event.timer. */
  type OnTimer = (event: TimerEvent, context: Context) => Decision;

  /** Decides what to do when a contact changed at the CRM or by the API. */
  type OnContactChange = (event: Event, context: Context) => Decision;

  /** Returns properties for the CRM, by their names there. They go with the message. */
  type MapToCRM = (event: MessageEvent, context: Context) => Record<string, string | number | boolean | Date | null | undefined> | undefined | void;

  /**
   * Says what a change at the CRM (event.fields) means for the contact. It is
   * asked before onContactChange, which then sees the contact changed.
   */
  type MapFromCRM = (event: Event, context: Context) => ContactChanges | null | undefined | void;

  /** Says where a hand-over goes: event.escalation. A string is the team. */
  type Route = (event: EscalationEvent, context: Context) => Team | Routing | null | undefined | void;

  /**
   * Asked before each message is sent, whoever asked for it: event.message.
   * false or a reason stop it; nothing and true let it go.
   */
  type BeforeSend = (event: MessageEvent, context: Context) => boolean | string | null | undefined | void;

  /** An action, a list of at most 32, or nothing. */
  type Decision = Action | readonly Action[] | null | undefined | void;

  /** Made by reply, tag, escalate and the other functions. */
  interface Action {
    readonly type: "reply" | "tag" | "untag" | "setField" | "escalate" | "timer" | "cancelTimer" | "consent";
  }

  /** The actions of the first row that fits, or undefined. */
  type Table = (event: Event, context: Context) => readonly Action[] | undefined;

  /** A table of phrases: the row that fits, or undefined. */
  type Phrases<Row extends string = string> = (event: Event) => { readonly name: Row; readonly language: string } | undefined;

  /** A table of examples: which of them the message is like. Undefined when it has no words. */
  type Examples<Name extends string = string> = (event: Event) =>
    | {
        readonly name: Name;
        /** How likely it is, 0 to 1, and how likely all of them are, together 1. */
        readonly sure: number;
        readonly chances: { readonly [name in Name]: number };
        /** Up to three words of the message that speak for it. */
        readonly words: readonly string[];
        /** What the message seems to be written in, or "". */
        readonly language: string;
      }
    | undefined;

  /** Any of them: the types of a tenant know which. */
  type AnyTable = (event: Event, context?: Context) => any;

  interface TextReply {
    text: string;
    /** Show a preview of the first link. */
    preview_url?: boolean;
  }

  interface TemplateReply {
    template: TemplateMessage;
  }

  interface InteractiveReply {
    /** https://developers.facebook.com/docs/whatsapp/cloud-api/messages */
    interactive: object;
  }

  /**
   * A file: one that WhatsApp fetches from an address, or one that was put to the
   * bridge to be sent (POST /api/v1/media), by its hash. What WhatsApp takes of each
   * type, and how large, is on its page:
   * https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
   */
  interface MediaReply {
    media: {
      type: "image" | "video" | "audio" | "document" | "sticker";
      /** An https address. Whoever has it can open it: WhatsApp has no password. */
      link?: string;
      /** Instead of link. A file that the bridge does not have, or that WhatsApp would not take, is not sent, and the trace says why. */
      hash?: string;
      /** Up to 1024 characters; not of audio and stickers. */
      caption?: string;
      /** Of a document: what it is called. */
      filename?: string;
      /** Of audio in ogg/opus: shown as a voice message. */
      voice?: boolean;
    };
  }

  interface EscalateOptions {
    /** What it is about: rules of escalation look at it. */
    topic?: Topic;
    /** Why, in a few words. */
    reason?: string;
    /** Who; otherwise the tenant's team. */
    team?: Team;
    /** What the person should know; up to 4096 characters. */
    note?: string;
    priority?: "low" | "normal" | "high";
  }

  interface Routing {
    team?: Team;
    /** One person of a team, by their id. */
    owner?: Owner;
    priority?: "low" | "normal" | "high";
    /** By when they should have answered: "30m", "2h" or milliseconds; otherwise the team's. */
    deadline?: string | number;
  }

  interface ContactChanges {
    fields?: { readonly [name in Field]?: string | number | boolean | null };
    tags?: readonly Tag[];
    untags?: readonly Tag[];
  }

  /** What a hook is given beside the event. It cannot be changed. */
  interface Context {
    /** The time, in milliseconds. `new Date()` and `Date.now()` say the same. */
    readonly now: number;
    /** The time, as "2026-11-23T09:30:00.000Z". */
    readonly time: string;
    /** The time at the business, as "2026-11-23T17:30:00+08:00". */
    readonly local: string;
    /** Whether the business is open now, by the calendar of its team. */
    readonly hours: "open" | "closed";
    /** The contact's language, guessed of this message and earlier ones. */
    readonly language: "en" | "es" | "fr" | "pt" | "zh" | "";
    /** The contact as the bridge knows them: tags and fields of earlier events included. */
    readonly contact: Contact;
    readonly conversation: Conversation;
    readonly tenant: Tenant;
    /** The [settings] of tenant.toml. */
    readonly settings: Settings;
  }

  interface Conversation {
    readonly id: string;
    /** This is its first message. */
    readonly new: boolean;
    /** "human" while a person has it: automatic replies are then not sent. */
    readonly mode: "bot" | "human";
    readonly started: string;
    /** How many messages came, this one included, and how many were sent. */
    readonly messages: number;
    readonly replies: number;
  }

  interface Tenant {
    readonly id: string;
    readonly name: string;
  }

  /** What happened. It cannot be changed. Times are "2026-11-23T09:30:00Z". */
  interface Event {
    readonly id: string;
    readonly kind: string;
    readonly tenant: string;
    /** The id of the business phone number (phone_number_id). */
    readonly number?: string;
    readonly conversation?: string;
    /** When it happened, as its source says. */
    readonly time: string;
    /** When the bridge took it. */
    readonly accepted: string;
    readonly source: string;
    readonly cause?: string;
    readonly contact?: Contact;
    readonly message?: Message;
    readonly status?: Status;
    readonly escalation?: Escalation;
    readonly timer?: Timer;
    readonly consent?: Consent;
    readonly merge?: any;
    readonly template_change?: TemplateChange;
    readonly identity_change?: any;
    /** What WhatsApp says of the business's account or number. */
    readonly account_change?: any;
    /** WhatsApp's id of the group that it happened in; missing between the business and one person. */
    readonly group?: string;
    readonly group_change?: any;
    /** Another app has the conversation: nothing is answered. */
    readonly standby?: boolean;
    /** A CRM's own id of the contact's record, where it tells of one. */
    readonly contact_ref?: string;
    /** A CRM's own id of the message, where somebody wrote it there. */
    readonly message_ref?: string;
    readonly limit_change?: any;
    readonly correction?: any;
    /** "human" on a message of ours that a person wrote; by says who, if known. */
    readonly author?: string;
    readonly by?: string;
    /** The campaign that a message of ours, or a status of one, is part of. */
    readonly campaign?: string;
    /** How urgent a message to send is. */
    readonly class?: "reply" | "transaction" | "campaign";
    readonly fields?: Readonly<Record<string, string | number | boolean | null>>;
    /** When each of fields was changed at the CRM, where it says so. */
    readonly changed?: Readonly<Record<string, string>>;
    /** The vendor's own JSON, where the bridge does not know the kind of message. */
    readonly raw?: any;
  }

  /** What onMessage, mapToCRM and beforeSend are asked about. */
  type MessageEvent = Event & { readonly message: Message; readonly contact: Contact };
  /** What onStatus is asked about. */
  type StatusEvent = Event & { readonly status: Status };
  /** What onTimer is asked about. */
  type TimerEvent = Event & { readonly timer: Timer; readonly contact: Contact };
  /** What route is asked about; the message is what the contact last wrote. */
  type EscalationEvent = Event & { readonly escalation: Escalation };

  interface Contact {
    readonly id?: string;
    /** What they call themselves on WhatsApp. */
    readonly name?: string;
    readonly username?: string;
    /** "+15550100123". Some people have none. */
    readonly phone?: string;
    readonly bsuid?: string;
    readonly parent_bsuid?: string;
    readonly tags?: readonly Tag[];
    readonly fields?: { readonly [name in Field]?: string };
  }

  interface Message {
    readonly id?: string;
    readonly direction: "in" | "out";
    /** "text", "image", "audio", "video", "document", "sticker", "location", "contacts", "button", "interactive", "reaction", "order", "system", …: others can appear. */
    readonly type: string;
    readonly to?: string;
    /** What a person would read: the text, a caption, the title of the button pressed. */
    readonly text?: string;
    readonly preview_url?: boolean;
    readonly typing?: boolean;
    readonly media?: Media;
    readonly location?: Location;
    readonly reaction?: Reaction;
    /** The answer to buttons, a list or a form. */
    readonly reply?: Reply;
    readonly context?: MessageContext;
    readonly template?: Template;
    /** The conversation's next message waits until this one is "sent" or "delivered". */
    readonly await?: string;
    /** The template that goes instead, if the 24-hour window is closed. */
    readonly fallback?: Template;
    /** Shared contact cards, as WhatsApp writes them. */
    readonly contacts?: any;
    readonly interactive?: any;
    /** Which ad or post they came from. */
    readonly referral?: Referral;
    /** What they ordered; text says it for people. */
    readonly order?: Order;
    /** Whether the business may call them. */
    readonly calls?: { readonly granted: boolean; readonly until?: string; readonly permanent?: boolean; readonly source?: string };
    /** Of type "unsupported": WhatsApp's word for what it was, such as "poll", and why it is not passed on. */
    readonly unsupported?: string;
    readonly error?: StatusError;
  }

  interface Referral {
    readonly source_url?: string;
    readonly source_id?: string;
    /** "ad" or "post". */
    readonly source_type?: string;
    readonly headline?: string;
    readonly body?: string;
    readonly media_type?: string;
    readonly image_url?: string;
    readonly video_url?: string;
    readonly thumbnail_url?: string;
    /** WhatsApp's id of the click, by which ads are told of conversions. */
    readonly ctwa_clid?: string;
    /** What the chat greeted them with. */
    readonly welcome?: string;
  }

  interface Order {
    readonly catalog?: string;
    /** What they wrote with it. */
    readonly note?: string;
    readonly items: readonly OrderItem[];
    /** The exact sum, where all items are of one currency. */
    readonly total?: string;
    readonly currency?: string;
  }

  interface OrderItem {
    /** Your own id of the product. */
    readonly product: string;
    readonly quantity: number;
    /** Of one, as WhatsApp wrote it: "19.99". */
    readonly price?: string;
    readonly currency?: string;
  }

  interface Product {
    readonly catalog?: string;
    /** Your own id of the product. */
    readonly id: string;
  }

  interface Media {
    readonly id?: string;
    readonly link?: string;
    readonly mime_type?: string;
    readonly sha256?: string;
    readonly filename?: string;
    readonly voice?: boolean;
    readonly animated?: boolean;
    readonly hash?: string;
    readonly size?: number;
  }

  interface Location {
    readonly latitude: number;
    readonly longitude: number;
    readonly name?: string;
    readonly address?: string;
    readonly url?: string;
  }

  interface Reaction {
    readonly message_id: string;
    /** Empty or missing: the reaction was taken back. */
    readonly emoji?: string;
  }

  interface Reply {
    /** "button", "list", "template_button", "flow", … */
    readonly kind: string;
    /** The id of the button or row, as it was sent. */
    readonly id?: string;
    readonly title?: string;
    readonly description?: string;
    /** The JSON text of a form's answer. */
    readonly response?: string;
  }

  interface MessageContext {
    /** The message that this one answers. */
    readonly id?: string;
    readonly from?: string;
    readonly forwarded?: boolean;
    /** It was forwarded many times. */
    readonly often?: boolean;
    /** The product of the catalog that they ask about. */
    readonly product?: Product;
  }

  interface Template {
    name: string;
    /** "en", "pt_BR", … as it was approved. */
    language: string;
    components?: any;
    /** In short, of a message that is asked for: an event has components instead. */
    params?: AnyParams;
    header?: TemplateHeader;
    buttons?: readonly TemplateButton[];
    cards?: readonly TemplateCard[];
    offer_ends?: string;
  }

  interface Status {
    readonly message_id: string;
    readonly value: string;
    readonly intent?: string;
    readonly opaque?: string;
    readonly errors?: readonly StatusError[];
    readonly pricing?: any;
  }

  interface StatusError {
    readonly code: number;
    readonly title?: string;
    readonly details?: string;
  }

  interface Escalation {
    readonly topic?: string;
    readonly reason: string;
    readonly team?: Team;
    readonly note?: string;
    readonly priority?: string;
    readonly id?: string;
    /** Who of the team it is given to. */
    readonly assignee?: { readonly id: string; readonly name?: string; readonly email?: string; readonly crm_owner?: string };
    /** 0 for the first team, and one more for each that got it because nobody answered. */
    readonly level?: number;
    readonly opened?: string;
    /** By when a person should have answered. */
    readonly deadline?: string;
    readonly overdue?: boolean;
    /** When somebody said that they will answer, and when a person first wrote. */
    readonly taken?: string;
    readonly answered?: string;
    /** "closed", "released", "expired" or "merged"; by says who ended it. */
    readonly outcome?: string;
    readonly by?: string;
  }

  /**
   * One conversation with a new contact. What a message does to it (tags, fields,
   * a hand-over) is there for the next. The time is Monday, 2026-01-05, 10:00
   * UTC, unless another is given.
   */
  interface Test {
    /** What the script decides about a message: a text, or more of one. */
    message(message: string | Partial<Message>, given?: Given): Outcome;
    /** The same for another event: its kind says which hook is asked. */
    event(event: Partial<Event> & { kind: string }, given?: Given): Outcome;
  }

  /** What a test changes before the script is asked; it stays so. settings does not. */
  interface Given {
    contact?: Partial<Contact>;
    conversation?: Partial<Conversation>;
    settings?: Record<string, any>;
    /** A time like "2026-01-05T10:00:00Z", or milliseconds. */
    now?: string | number;
    language?: string;
    hours?: "open" | "closed";
  }

  /** What the script decided. */
  interface Outcome {
    readonly actions: readonly any[];
    /** The first reply, and all: texts, or {template}, {interactive} and {media}. */
    readonly reply: any;
    readonly replies: readonly any[];
    readonly tags: readonly string[];
    readonly untags: readonly string[];
    readonly fields: Readonly<Record<string, string | null>>;
    /** The first hand-over, or null. */
    readonly escalate: any;
    readonly crm: Readonly<Record<string, any>> | null;
    /** Why the script failed, or null. */
    readonly error: string | null;
    readonly log: readonly string[];
    /** Fails the test, saying what differs, when this is not what was decided. */
    expect(want: Expectation): Outcome;
  }

  /**
   * What a test wants, as far as it says. A RegExp has to match, false and null
   * want that there is none, true wants that there is one.
   */
  interface Expectation {
    reply?: string | RegExp | boolean | null | object;
    /** All tags put on and taken off, in any order. */
    tags?: string[];
    untags?: string[];
    /** Some of the contact's fields that are set, and of what goes to the CRM. */
    fields?: Record<string, string | number | boolean | RegExp | null>;
    crm?: Record<string, string | number | boolean | RegExp | null>;
    /** The reason, or {team, reason, topic, priority}. */
    escalate?: boolean | string | RegExp | null | { [property: string]: string | RegExp };
    /** Timers by name: true, or what they have. */
    timers?: Record<string, true | object>;
    /** What beforeSend and route say. */
    veto?: boolean | string | RegExp;
    route?: object;
    /** The script is to fail. */
    error?: string | RegExp | boolean;
    /** Lines of the console. */
    log?: string | RegExp | Array<string | RegExp>;
    /** No action at all. */
    nothing?: boolean;
  }

  interface Timer {
    readonly name: TimerName;
    readonly data?: any;
    readonly generation?: number;
  }

  interface Consent {
    readonly level?: string;
    readonly state?: string;
    readonly suppression?: string;
    readonly scope?: string;
    readonly lifted?: boolean;
    readonly source?: string;
    readonly evidence?: string;
    readonly by?: string;
    readonly marketing?: string;
    readonly suppressed?: readonly string[];
  }

  interface TemplateChange {
    readonly name: string;
    readonly language?: string;
    readonly category?: string;
    readonly next?: string;
    readonly next_at?: string;
    readonly status?: string;
    readonly quality?: string;
    readonly reason?: string;
    readonly id?: string;
    readonly account?: string;
  }
}
