'use strict';
// The bridge's side of a wabridge plugin in JavaScript: everything but the CRM.
//
// What an author writes is a class that extends Connector, and serve(new Acme()).
// Handshake, TLS, health, logs, deadlines and shutdown are here. The contract is in
// connector.proto, the shape of events in
// https://pkg.go.dev/github.com/wabridge/wabridge/core#Event.
// This file belongs to the plugin: read it, and change it if you must.

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const MAX_MESSAGE = 8 << 20;
const DRAIN = 30_000; // ms for the calls under way when somebody stops the plugin

// Failure is why something did not work. The code says what the bridge does next:
//
//   invalid          this event can never be delivered: a dead letter, at once
//   undeliverable    the person cannot be reached
//   rate_limited     too fast: again after retryAfter seconds
//   unavailable      it did not happen, and may work later
//   unknown_outcome  it may have happened
//   unauthenticated  the credentials are refused: the lane waits for new ones
//   forbidden        they are good, but not for this
//   internal         a bug
//
// message is one line without secrets and phone numbers; more may have op, hint (what
// a person can do, naming the setting to change), vendor, retryAfter, scope, source.
class Failure extends Error {
  constructor(code, message, more = {}) {
    super(message);
    Object.assign(this, { op: '', hint: '', vendor: '', retryAfter: 0, scope: '', source: 'plugin' }, more, { code });
  }
}

// Written is what write may return: what the CRM calls what was written, and in more the
// contact's record (contactRef) and the message (messageRef). The bridge brings these two with
// what comes later: event.contact_ref and event.message_ref. event.told_ref is the record that
// the CRM told of, while no contact_ref is known; see docs/plugins.
class Written {
  constructor(ref, more = {}) {
    Object.assign(this, { contactRef: '', messageRef: '' }, more, { ref });
  }
}

// Account is one tenant's account at the CRM. It comes with every call: keep nothing.
class Account {
  constructor(wire, call) {
    this.meter = { spent: {}, left: {} };
    this.tenant = wire.tenant;
    this.lane = wire.lane;
    this.settings = wire.settings.length ? JSON.parse(wire.settings) : {};
    this.secrets = wire.secrets;
    this.properties = wire.properties;
    this.webhookURL = wire.webhook_url;
    this.token = wire.token && { secrets: wire.token.secrets, values: wire.token.values, expires: Number(wire.token.expires_ms) / 1000 };
    this.call = call;
    this.ended = new AbortController();
    call.on('cancelled', () => this.ended.abort());
    if (call.cancelled) this.ended.abort();
  }

  // How long this call may still take, in ms: the timeout of what it asks the CRM.
  millisecondsLeft() {
    const left = Number(this.call.getDeadline()) - Date.now();
    return Number.isFinite(left) ? Math.max(50, left - Math.min(500, left / 10)) : 60_000;
  }

  // spend says that calls were made, of one of the connector's budgets.
  spend(budget, calls = 1) {
    this.meter.spent[budget] = (this.meter.spent[budget] || 0) + calls;
  }

  // left says how many calls are left in a budget's longest window, where the CRM says so.
  left(budget, calls) {
    this.meter.left[budget] = calls;
  }

  // A signal for fetch: it ends when the call does, or its time is over.
  signal() {
    return AbortSignal.any([this.ended.signal, AbortSignal.timeout(this.millisecondsLeft())]);
  }
}

// Connector is what a plugin is. Calls may come at the same time.
class Connector {
  name = '';
  version = '0.0.0';
  maxBatch = 100; // events in one call, 1 to 1000
  // What an event that comes twice does: "upsert" (writes are keyed by an id of ours),
  // "key" (the CRM drops a repeated key), "search" (write looks for what is there before it
  // makes it), "none" (twice is twice).
  idempotency = 'none';
  searchDelay = 0; // seconds until a search sees what was made, for "search"; 0: 30
  kinds = []; // of events; empty: all that a CRM gets
  callsPerSecond = 0; // 0: no limit
  budgets = []; // { name, calls, seconds }: what the CRM bears; account.spend says what was made
  secrets = []; // names of the secrets that an account must have
  settings = null; // names of the settings that there are: others are refused, before check; null: check looks itself

  // check proves that the account's settings and secrets work, or throws a Failure.
  async check(account) {} // eslint-disable-line no-unused-vars

  // write writes one event and returns what the CRM calls it (or Written), or throws a Failure.
  async write(account, event) { // eslint-disable-line no-unused-vars
    throw new Error('write is missing');
  }

  // deliver writes a batch: by event id what write returns, or a Failure. Instead of
  // write, for CRMs that take many at once.
  async deliver(account, events) {
    const results = new Map();
    for (const event of events) {
      if (account.call.cancelled) break;
      try {
        results.set(event.id, await this.write(account, event));
      } catch (error) {
        results.set(event.id, failureOf(this, 'write', error));
      }
    }
    return results;
  }

  // Optional; a connector that has them is asked. See connector.proto.
  //   async authorize(account) -> { secrets, values, expires: seconds since 1970 }
  //   async poll(account, cursor) -> { events, cursor, more }
  //   async webhook(account, { method, url, remote, headers, body }) -> { events, status, contentType, body }
  //   async describe(account) -> what core.Schema is as JSON
  // Both or none, for the segments that campaigns are sent to:
  //   async segments(account, name) -> [{ id, name, kind, size }]
  //   async members(account, segment, cursor) -> { members: [{ contact_ref, contact: { name, phone, bsuid } }], cursor, more }
}

// refuseUnknown throws a Failure that names a setting that there is not.
function refuseUnknown({ settings }, account) {
  const unknown = settings && Object.keys(account.settings).find((name) => !settings.includes(name));
  if (unknown) throw new Failure('invalid', `there is no setting ${unknown}`, { op: 'settings', hint: `there are: ${settings.join(', ')}` });
}

// failureOf makes a Failure of whatever was thrown. The text of an error can hold
// anything, secrets too: only its kind and place are told.
function failureOf(connector, where, error) {
  if (error instanceof Failure) return error;
  const place = /\(?([^()\s]+:\d+):\d+\)?$/m.exec((error && error.stack) || '');
  const code = where === 'write' || where === 'deliver'
    ? (['upsert', 'key'].includes(connector.idempotency) ? 'internal' : 'unknown_outcome') : 'internal';
  const failure = new Failure(code, `${(error && error.name) || 'error'} in ${where} at ${place ? path.basename(place[1]) : 'unknown place'}`,
    { op: 'plugin', vendor: 'exception' });
  log('ERROR', failure.message);
  return failure;
}

// log writes a record as the bridge reads them: a JSON object a line, on standard error.
function log(level, message, more = {}) {
  process.stderr.write(JSON.stringify({ level, msg: String(message), ...more }) + '\n');
}

// serve runs the connector as a plugin. It is all that a plugin's main does.
async function serve(connector) {
  const attach = process.env.WABRIDGE_PLUGIN_ATTACH;
  if (attach) await waitForBridge(attach);
  const env = process.env;
  if (env.WABRIDGE_PLUGIN !== 'connector') {
    process.stderr.write(`${process.argv[1]}: this is a plugin of wabridge (connector "${connector.name}"): the bridge starts it, it does nothing by itself.\n`);
    process.exit(2);
  }
  // Standard output is for the handshake alone: whatever else is printed is logged.
  for (const [name, level] of [['log', 'INFO'], ['info', 'INFO'], ['debug', 'DEBUG'], ['warn', 'WARN'], ['error', 'ERROR']]) {
    console[name] = (...said) => log(level, said.map(String).join(' '));
  }
  const handshake = env.WABRIDGE_PLUGIN_HANDSHAKE ? (line) => fs.writeFileSync(env.WABRIDGE_PLUGIN_HANDSHAKE, line) : (line) => fs.writeSync(1, line);

  const { privateKey, der } = certificate();
  const pem = `-----BEGIN CERTIFICATE-----\n${der.toString('base64').match(/.{1,64}/g).join('\n')}\n-----END CERTIFICATE-----\n`;
  const calls = { open: 0, closed: false };
  const server = new grpc.Server({ 'grpc.max_receive_message_length': MAX_MESSAGE, 'grpc.max_send_message_length': MAX_MESSAGE });
  addServices(server, connector, calls);
  const socket = path.join(env.PLUGIN_UNIX_SOCKET_DIR, 'plugin.sock');
  const credentials = grpc.ServerCredentials.createSsl(Buffer.from(env.PLUGIN_CLIENT_CERT), [{
    private_key: Buffer.from(privateKey), cert_chain: Buffer.from(pem),
  }], true);
  await new Promise((resolve, reject) => server.bindAsync('unix:' + socket, credentials, (error) => (error ? reject(error) : resolve())));

  const parent = process.ppid;
  const alone = attach ? () => !fs.existsSync(path.dirname(socket)) : () => process.ppid !== parent;
  setInterval(() => alone() && process.exit(1), 1000).unref();
  process.on('SIGTERM', () => {
    calls.closed = true;
    const until = Date.now() + DRAIN;
    setInterval(() => {
      if (calls.open > 0 && Date.now() < until) return;
      setTimeout(() => process.exit(0), 100); // the last answers are on their way
    }, 10);
  });
  handshake(`1|1|unix|${socket}|grpc|${der.toString('base64').replace(/=+$/, '')}\n`);
}

// waitForBridge is for a debugger: the environment that the bridge would give is in a file.
async function waitForBridge(file) {
  process.stderr.write(`waiting for a bridge with attach = "${file}"\n`);
  for (;;) {
    try {
      const environment = JSON.parse(fs.readFileSync(file, 'utf8'));
      fs.statSync(environment.PLUGIN_UNIX_SOCKET_DIR); // gone with an old bridge
      Object.assign(process.env, environment);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

function addServices(server, connector, calls) {
  const definition = loader.loadSync(path.join(__dirname, 'connector.proto'), { keepCase: true, longs: Number, defaults: true, arrays: true, objects: true });
  const wireError = (f) => ({
    code: f.code, op: f.op, message: f.message.slice(0, 1024), hint: f.hint, source: f.source, vendor: f.vendor,
    retry_after_ms: Math.round(f.retryAfter * 1000), scope: f.scope,
  });
  // asked answers one call with a method of the connector.
  const asked = (name, answer, ...more) => async (call) => {
    if (!connector[name]) throw Object.assign(new Error(`the connector has no ${name}`), { code: grpc.status.UNIMPLEMENTED });
    const account = new Account(call.request.account, call);
    try {
      if (name === 'check') refuseUnknown(connector, account);
      return { ...answer(await connector[name](account, ...more.map((f) => f(call.request)))), meter: account.meter };
    } catch (error) {
      return { error: wireError(failureOf(connector, name, error)), meter: account.meter };
    }
  };
  const json = (values) => (values || []).map((v) => Buffer.from(JSON.stringify(v)));
  const cursor = (r) => (r.cursor.length ? JSON.parse(r.cursor) : null);
  const methods = {
    Info: async () => ({
      name: connector.name, version: connector.version, max_batch: connector.maxBatch, idempotency: connector.idempotency,
      kinds: connector.kinds, calls_per_second: connector.callsPerSecond, secrets: connector.secrets,
      search_delay_ms: Math.round(connector.searchDelay * 1000),
      budgets: connector.budgets.map((b) => ({ name: b.name, calls: b.calls, per_ms: Math.round(b.seconds * 1000) })),
      authorizes: !!connector.authorize, polls: !!connector.poll, receives: !!connector.webhook, describes: !!connector.describe,
      segments: !!(connector.segments && connector.members),
    }),
    Check: asked('check', () => ({})),
    Deliver: async (call) => {
      const refs = (d) => Object.fromEntries(['contact_ref', 'told_ref', 'message_ref'].filter((name) => d[name]).map((name) => [name, d[name]]));
      const events = call.request.deliveries.map((d) => ({ ...JSON.parse(d.event), attempt: d.attempt, ...refs(d) }));
      const account = new Account(call.request.account, call);
      let results = new Map();
      try {
        if (events.length) results = await connector.deliver(account, events);
      } catch (error) {
        const failure = failureOf(connector, 'deliver', error);
        for (const e of events) results.set(e.id, failure);
      }
      const text = (s) => String(s || '').slice(0, 512);
      const done = (w) => ({ ref: text(w.ref), contact_ref: text(w.contactRef), message_ref: text(w.messageRef) });
      return {
        results: [...results].map(([id, r]) => (r instanceof Failure ? { id, error: wireError(r) } : { id, ...done(r instanceof Written ? r : { ref: r }) })),
        meter: account.meter,
      };
    },
    Authorize: asked('authorize', (t) => ({ token: { secrets: t.secrets, values: t.values, expires_ms: Math.round((t.expires || 0) * 1000) } })),
    Poll: asked('poll', (p) => ({ events: json(p.events), cursor: Buffer.from(JSON.stringify(p.cursor ?? null)), more: !!p.more }), cursor),
    Webhook: asked('webhook', (w) => ({ events: json(w.events), status: w.status || 0, content_type: w.contentType || '', body: Buffer.from(w.body || '') }),
      (r) => ({ method: r.method, url: r.url, remote: r.remote, headers: r.header.map((h) => [h.name, h.value]), body: r.body })),
    Describe: asked('describe', (schema) => ({ schema: Buffer.from(JSON.stringify(schema)) })),
    Segments: asked('segments', (found) => ({ segments: json(found) }), (r) => r.name),
    Members: asked('members', (p) => ({ members: json(p.members), cursor: Buffer.from(JSON.stringify(p.cursor ?? null)), more: !!p.more }),
      (r) => r.segment, cursor),
  };
  const gated = Object.fromEntries(Object.entries(methods).map(([name, method]) => [name, (call, done) => {
    if (calls.closed) return done({ code: grpc.status.ABORTED, message: 'the plugin is stopping' });
    calls.open++;
    method(call).then((answer) => done(null, answer), (error) => done({ code: error.code || grpc.status.INTERNAL, message: error.code ? error.message : 'a bug' }))
      .finally(() => calls.open--);
  }]));
  server.addService(definition['wabridge.plugin.v1.Connector'], gated);
  const raw = (b) => b;
  server.addService({ Check: {
    path: '/grpc.health.v1.Health/Check', requestStream: false, responseStream: false,
    requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw,
  } }, { Check: (_, done) => done(null, Buffer.from([8, 1])) }); // SERVING
}

// certificate makes a key and a certificate of this process's own for "localhost". Node
// makes no certificates, and this one is for one reader: it is written out in DER here.
function certificate() {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = (tag, ...parts) => {
    const body = Buffer.concat(parts);
    const size = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255];
    return Buffer.concat([Buffer.from([tag, ...size]), body]);
  };
  const sequence = (...parts) => der(0x30, ...parts);
  const oid = (hex) => der(0x06, Buffer.from(hex, 'hex'));
  const time = (t) => der(0x17, Buffer.from(new Date(t).toISOString().replace(/^..|[-:T]|\.\d+/g, '')));
  const name = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from('localhost')))));
  const algorithm = sequence(oid('2a8648ce3d040302')); // ECDSA with SHA-256
  const serial = crypto.randomBytes(8);
  serial[0] &= 0x7f;
  serial[0] |= 0x40;
  const extensions = sequence(
    sequence(oid('551d13'), der(0x01, Buffer.from([255])), der(0x04, sequence(der(0x01, Buffer.from([255]))))), // its own authority
    sequence(oid('551d11'), der(0x04, sequence(der(0x82, Buffer.from('localhost'))))));
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), der(0x02, serial), algorithm, name,
    sequence(time(Date.now() - 3600e3), time(Date.now() + 20 * 365 * 86400e3)), name,
    publicKey.export({ type: 'spki', format: 'der' }), der(0xa3, extensions));
  const signature = crypto.sign('sha256', body, privateKey);
  return {
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    der: sequence(body, algorithm, der(0x03, Buffer.from([0]), signature)),
  };
}

module.exports = { Connector, Failure, Written, log, serve };
