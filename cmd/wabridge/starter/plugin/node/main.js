'use strict';
// @NAME@: a connector of wabridge, for a CRM with an HTTP API.
//
// What it writes here is a note for each event. Change note, and where it goes.

const { Connector, Failure, serve } = require('./wabridge_plugin.js');

class Plugin extends Connector {
  name = '@NAME@';
  version = '0.1.0';
  maxBatch = 50;
  idempotency = 'upsert'; // the CRM keeps one note for each id: twice is harmless
  secrets = ['token'];
  settings = ['base_url'];

  async check(account) {
    await ask(account, 'GET', '/v1/me');
  }

  async write(account, event) {
    return (await ask(account, 'POST', '/v1/events', note(event))).id;
  }
}

// note is an event, as the CRM wants to have it. Kinds that nobody knows yet are notes too.
function note(event) {
  const { contact = {}, message = {} } = event;
  return {
    id: event.id, kind: event.kind, time: event.time, contact: contact.id || '', name: contact.name || '',
    address: contact.phone || contact.bsuid || '', text: message.text || '', direction: message.direction || '',
  };
}

// ask makes one request to the CRM. Its errors get their codes here, and nowhere else.
async function ask(account, method, path, body) {
  const base = account.settings.base_url || '';
  if (!/^https?:\/\//.test(base)) {
    throw new Failure('invalid', 'settings.base_url is not an address', { op: 'settings', hint: 'set base_url, as in https://crm.example.com' });
  }
  let response;
  try {
    response = await fetch(base + path, {
      method, body: body && JSON.stringify(body), signal: account.signal(),
      headers: { Authorization: `Bearer ${account.secrets.token || ''}`, 'Content-Type': 'application/json' },
    });
    if (response.ok) return await response.json();
  } catch { // no connection, no answer in time, or half of one
    throw new Failure(body ? 'unknown_outcome' : 'unavailable', 'the CRM does not answer', { op: path, source: 'vendor' });
  }
  await response.body?.cancel();
  const codes = { 400: 'invalid', 401: 'unauthenticated', 403: 'forbidden', 404: 'invalid', 409: 'invalid', 422: 'invalid', 429: 'rate_limited' };
  throw new Failure(codes[response.status] || 'unavailable', `the CRM answers ${response.status}`, {
    op: path, vendor: String(response.status), source: 'vendor', retryAfter: Number(response.headers.get('Retry-After')) || 0,
    hint: response.status === 401 || response.status === 403 ? "see the lane's secret token" : '',
  });
}

serve(new Plugin());
