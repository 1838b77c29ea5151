// Two WhatsApp clients that others wrote, against the imitation: node whatsapp.mjs URL
// What the imitation tells goes to the webhook server here, by way of the bridge's parser.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { WhatsAppAPI } from 'whatsapp-api-js';
import * as M from 'whatsapp-api-js/messages';
import { WhatsAppClient, buildTemplateSendPayload } from '@kapso/whatsapp-cloud-api';
import { normalizeWebhook, verifySignature } from '@kapso/whatsapp-cloud-api/server';

const url = process.argv[2];
const { PORT, SECRET, NUMBER, FRESH } = process.env;
const ana = '+34600111222';
const sam = 'GB.42';

// whatsapp-api-js knows no other address than Meta's.
const api = new WhatsAppAPI({
  token: 'token', appSecret: SECRET, webhookVerifyToken: 'verify', v: 'v25.0',
  ponyfill: { fetch: (where, options) => fetch(String(where).replace('https://graph.facebook.com', url), options) },
});
const client = new WhatsAppClient({ accessToken: 'token', baseUrl: url, graphVersion: 'v25.0' });
const { messages, phoneNumbers, media } = client;

const control = async (path, body) => {
  const r = await fetch(`${url}/_sim/${path}`, body && { method: 'POST', body: JSON.stringify(body) });
  assert.equal(r.status, 200, `${path}: ${await r.clone().text()}`);
  return r.json();
};

const told = { texts: [], statuses: [], ids: [], both: 0, one: 0 };
let escaped = true; // how the imitation writes: the client that has Meta's old way in it knows no other
api.on.message = ({ message }) => { told.texts.push(message.text?.body ?? message.type); };
api.on.status = ({ status, id }) => { told.statuses.push(`${status} ${id}`); };
const server = createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part)).on('end', async () => {
    const raw = Buffer.concat(parts);
    const signature = request.headers['x-hub-signature-256'];
    try {
      assert.ok(verifySignature({ appSecret: SECRET, rawBody: raw, signatureHeader: signature }), 'the signature');
      assert.ok(!verifySignature({ appSecret: SECRET + 'x', rawBody: raw, signatureHeader: signature }), 'a wrong secret');
      const normal = normalizeWebhook(JSON.parse(raw));
      for (const m of normal.messages) told.ids.push(m.fromUserId ?? m.from);
      if (escaped) {
        await api.post(JSON.parse(raw), raw.toString(), signature);
        told.both++;
      } else {
        told.one++;
        for (const m of normal.messages) told.texts.push(m.text?.body);
      }
      response.writeHead(200).end();
    } catch (e) {
      console.error(`${e} ${raw}`);
      response.writeHead(500).end();
    }
  });
});
await new Promise((ok) => { server.listen(Number(PORT), '127.0.0.1', ok); });
after(() => server.close());

const until = async (what, f) => {
  for (const end = Date.now() + 10_000; !f();) {
    assert.ok(Date.now() < end, `${what}: ${JSON.stringify(told)}`);
    await new Promise((ok) => { setTimeout(ok, 5); });
  }
};

test('webhooks: both ways of writing, signed over their own bytes', async () => {
  await control('receive', { from: ana, name: 'Ana Ñ', text: '¿Dónde está? 📦 a/b', number: NUMBER });
  await control('receive', { bsuid: sam, username: '@sam', name: 'Sam', text: 'no phone', number: NUMBER });
  await until('messages', () => told.both === 2);
  assert.deepEqual(told.texts.sort(), ['no phone', '¿Dónde está? 📦 a/b']);
  assert.ok(told.ids.includes(sam));
  escaped = false;
  await control('webhooks', { escape: 0 });
  await control('receive', { from: ana, text: 'así también 📦', number: NUMBER });
  await until('plain UTF-8', () => told.one === 1);
  assert.ok(told.texts.includes('así también 📦'));
  await control('webhooks', { escape: 1 });
  escaped = true;
});

let wamid;
test('whatsapp-api-js: every type', async () => {
  const file = 'https://example.com/a.jpg';
  const all = [
    new M.Text('hello https://example.com', true),
    new M.Image(file, false, 'a caption'), new M.Audio(file, false), new M.Video(file, false, 'x'), new M.Sticker(file, false),
    new M.Document(file, false, 'x', 'a.pdf'),
    new M.Location(-3.7, 40.4, 'Madrid', 'Sol 1'),
    new M.Contacts([new M.Name('Ana Chen', 'Ana'), new M.Phone(ana, 'CELL')]),
    new M.Interactive(new M.ActionButtons(new M.Button('a', 'A'), new M.Button('b', 'B')), new M.Body('choose'), new M.Header('head'), new M.Footer('foot')),
    new M.Interactive(new M.ActionList('more', new M.ListSection(undefined, new M.Row('1', 'one', 'the first'), new M.Row('2', 'two'))), new M.Body('choose')),
    new M.Interactive(new M.ActionCTA('See', 'https://example.com'), new M.Body('look')),
    new M.Interactive(new M.ActionLocation(), new M.Body('where are you?')),
    new M.Template('hello_world', new M.Language('en_US')),
  ];
  for (const m of all) {
    const answer = await api.sendMessage(NUMBER, ana, m, undefined, 'mine');
    assert.ok(!answer.error, `${m._type}: ${JSON.stringify(answer.error)}`);
    assert.match(answer.messages[0].id, /^wamid\./);
    assert.equal(answer.contacts[0].wa_id, '34600111222');
    wamid = answer.messages[0].id;
  }
  for (const m of [new M.Reaction(wamid, '👍'), new M.Reaction(wamid, '')]) {
    const answer = await api.sendMessage(NUMBER, ana, m);
    assert.ok(!answer.error, JSON.stringify(answer.error));
  }
  const quoted = await api.sendMessage(NUMBER, ana, new M.Text('about that'), wamid);
  assert.ok(quoted.messages);
  assert.deepEqual(await api.markAsRead(NUMBER, 'wamid.x'), { success: true });
  await until('statuses', () => told.statuses.includes(`read ${wamid}`));
});

const png = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]); // how each begins

test('whatsapp-api-js: files and refusals', async () => {
  const form = new FormData();
  form.set('file', new Blob([png], { type: 'image/png' }), 'a.png');
  const { id } = await api.uploadMedia(NUMBER, form);
  const where = await api.retrieveMedia(id);
  assert.equal(where.mime_type, 'image/png');
  const back = await fetch(where.url, { headers: { Authorization: 'Bearer token' } });
  assert.deepEqual(new Uint8Array(await back.arrayBuffer()), png);
  assert.ok((await api.sendMessage(NUMBER, ana, new M.Image(id, true))).messages);
  assert.deepEqual(await api.deleteMedia(id), { success: true });
  const closed = await api.sendMessage(NUMBER, '+34600999999', new M.Text('too late'));
  assert.equal(closed.error.code, 131047);
  assert.equal(closed.error.type, 'OAuthException');
  const none = await api.sendMessage(NUMBER, ana, new M.Template('no_such', new M.Language('en_US')));
  assert.equal(none.error.code, 132001);
  for (const code of [130429, 131056, 131026, 131031, 133010, 368]) {
    await control('fail', { do: 'error', code, count: 1 });
    assert.equal((await api.sendMessage(NUMBER, ana, new M.Text('x'))).error.code, code);
  }
});

test('kapso: every type, to phone numbers and user ids', async () => {
  const to = { phoneNumberId: NUMBER, to: ana };
  const link = 'https://example.com/a.jpg';
  const two = [{ id: 'a', title: 'A' }, { id: 'b', title: 'B' }];
  const sent = [
    await messages.sendText({ ...to, body: 'hello' }),
    await messages.sendText({ phoneNumberId: NUMBER, recipient: sam, body: 'hello Sam' }),
    await messages.sendImage({ ...to, image: { link, caption: 'x' } }),
    await messages.sendAudio({ ...to, audio: { link } }),
    await messages.sendVideo({ ...to, video: { link } }),
    await messages.sendDocument({ ...to, document: { link, filename: 'a.pdf' } }),
    await messages.sendSticker({ ...to, sticker: { link } }),
    await messages.sendLocation({ ...to, location: { latitude: -33.45, longitude: -70.66, name: 'Santiago', address: 'CL' } }),
    await messages.sendContacts({ ...to, contacts: [{ name: { formattedName: 'John Doe', firstName: 'John' }, phones: [{ phone: ana, type: 'WORK' }] }] }),
    await messages.sendReaction({ ...to, reaction: { messageId: wamid, emoji: '😀' } }),
    await messages.sendInteractiveButtons({ ...to, bodyText: 'Pick', footerText: 'f', buttons: two }),
    await messages.sendInteractiveList({ ...to, bodyText: 'Pick', buttonText: 'more', sections: [{ title: 's', rows: two }] }),
    await messages.sendInteractiveCtaUrl({ ...to, bodyText: 'Tap', parameters: { displayText: 'See', url: 'https://example.com' } }),
    await messages.sendInteractiveLocationRequest({ ...to, bodyText: 'Where?', parameters: { requestMessage: 'Where?' } }),
    await messages.sendTemplate({ ...to, template: buildTemplateSendPayload({ name: 'hello_world', language: 'en_US' }) }),
  ];
  for (const s of sent) assert.match(s.messages[0].id, /^wamid\./);
  assert.equal(sent[1].contacts[0].userId ?? sent[1].contacts[0].user_id, sam);
  await messages.markRead({ phoneNumberId: NUMBER, messageId: 'wamid.x', typingIndicator: { type: 'text' } });
  const file = await media.upload({ phoneNumberId: NUMBER, type: 'image', file: new Blob([png], { type: 'image/png' }), fileName: 'a.png' });
  assert.ok(file.id);
  await assert.rejects(messages.sendText({ phoneNumberId: NUMBER, to: '+34600999999', body: 'too late' }), (e) => {
    assert.match(JSON.stringify(e) + e.message, /131047/);
    return true;
  });
});

test('kapso: a number is taken into service', async () => {
  const number = { phoneNumberId: FRESH };
  await assert.rejects(phoneNumbers.register({ ...number, pin: '123456' }), /re-verification|133006/);
  await phoneNumbers.requestCode({ ...number, codeMethod: 'SMS', language: 'en_US' });
  const { code } = (await control('numbers')).find((n) => n.number === FRESH);
  await phoneNumbers.verifyCode({ ...number, code });
  await phoneNumbers.register({ ...number, pin: '123456' });
  await assert.rejects(phoneNumbers.register({ ...number, pin: '654321' }), /PIN|133005/);
  await phoneNumbers.businessProfile.update({ ...number, about: 'Open', websites: ['https://example.com'] });
  const profile = await phoneNumbers.businessProfile.get({ ...number, fields: 'about,websites' });
  assert.equal(profile.data[0].about, 'Open');
  await phoneNumbers.deregister(number);
});
