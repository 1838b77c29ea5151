// Four WhatsApp clients that others wrote, against the imitation: node whatsapp.mjs URL
// What the imitation tells goes to the webhook server here, by way of the bridge's parser.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { WhatsAppAPI } from 'whatsapp-api-js';
import * as M from 'whatsapp-api-js/messages';
import { WhatsAppClient, buildTemplateSendPayload } from '@kapso/whatsapp-cloud-api';
import { GraphApiError } from '@kapso/whatsapp-cloud-api';
import { normalizeWebhook, verifySignature } from '@kapso/whatsapp-cloud-api/server';
import GreatDetail from '@great-detail/whatsapp';
import WhatsAppBusiness from 'whatsapp-business';

const url = process.argv[2];
const { PORT, SECRET, NUMBER, FRESH, WABA } = process.env;
const ana = '+34600111222';
const sam = 'GB.42';

// whatsapp-api-js knows no other address than Meta's.
const api = new WhatsAppAPI({
  token: 'token', appSecret: SECRET, webhookVerifyToken: 'verify', v: 'v25.0',
  ponyfill: { fetch: (where, options) => fetch(String(where).replace('https://graph.facebook.com', url), options) },
});
const client = new WhatsAppClient({ accessToken: 'token', baseUrl: url, graphVersion: 'v25.0' });
const { messages, phoneNumbers, media, templates } = client;
const great = new GreatDetail({ baseUrl: url, graphVersion: 'v25.0', request: { headers: { Authorization: 'Bearer token' } } });
// whatsapp-business is of an older version, and has Meta's address in it.
const business = new WhatsAppBusiness.WABAClient({ apiToken: 'token', phoneId: NUMBER, accountId: WABA });
business.restClient.fetch.defaults.baseURL = `${url}/v17.0`;

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
      const event = await great.webhook.eventNotification({ method: request.method, headers: request.headers, body: raw.toString() });
      await event.verifySignature(SECRET);
      await assert.rejects(event.verifySignature(`${SECRET}x`), great.webhook.errors.InvalidHubSignatureWebhookError);
      assert.equal(event.eventNotification.object, 'whatsapp_business_account');
      if (!event.eventNotification.entry.every((e) => e.changes.every((c) => c.field === 'messages'))) { // the others read no more
        response.writeHead(200).end();
        return;
      }
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

test('whatsapp-api-js: shops, forms, permissions and templates', async () => {
  const bread = new M.Product('bread');
  const shelf = new M.ProductSection('Bakery', bread, new M.Product('cake'));
  const image = new M.Image('https://example.com/a.jpg', false);
  const body = new M.BodyComponent(new M.BodyParameter('Ana'), new M.BodyParameter(new M.Currency(1500, 'EUR', '1.50 €')), new M.BodyParameter(new M.DateTime('1 May')));
  const card = () => new M.CarouselCard(image, new M.BodyComponent(new M.BodyParameter('x')), new M.PayloadComponent('more'), new M.URLComponent('7'));
  const offer = (...parts) => new M.Template('offer', new M.Language('es'), ...parts);
  const all = [
    new M.Interactive(new M.ActionProduct(new M.CatalogProduct('bread', '7'))),
    new M.Interactive(new M.ActionProduct(new M.CatalogProduct('bread', '7')), new M.Body('fresh'), undefined, new M.Footer('f')),
    new M.Interactive(new M.ActionProductList('7', shelf), new M.Body('choose'), new M.Header('Today')),
    new M.Interactive(new M.ActionCatalog(bread), new M.Body('all that we have')),
    new M.Interactive(new M.ActionCatalog(), new M.Body('all that we have')),
    new M.Interactive(new M.ActionNavigateFlow('t', '1', 'Begin', 'FIRST', { name: 'Ana' }), new M.Body('a form')),
    new M.Interactive(new M.ActionDataExchangeFlow('t', '1', 'Begin', 'draft'), new M.Body('a form')),
    new M.Interactive(new M.ActionCallPermission(), new M.Body('may we call?')),
    new M.Interactive(new M.ActionContactRequest(), new M.Body('who are you?')),
    offer(new M.HeaderComponent(new M.HeaderParameter(image)), body, new M.PayloadComponent('yes'), new M.URLComponent('4711'), new M.CopyComponent('ANA10')),
    offer(new M.HeaderComponent(new M.HeaderParameter(new M.Location(-3.7, 40.4, 'Madrid', 'Sol 1'))), new M.FlowComponent('t', { a: 1 })),
    offer(new M.HeaderComponent(new M.HeaderParameter(new M.CatalogProduct('bread', '7'))), new M.CatalogComponent(bread)),
    offer(new M.HeaderComponent(new M.HeaderParameter('4711', 'order')), new M.BodyComponent(new M.BodyParameter('Ana', 'name')), new M.MPMComponent(bread, shelf)),
    offer(new M.BodyComponent(new M.BodyParameter('Ana')), new M.LTOComponent(Date.now() + 60_000), new M.CopyComponent('ANA10')),
    offer(new M.BodyComponent(new M.BodyParameter('Ana')), new M.CarouselComponent(card(), card())),
  ];
  for (const m of all) {
    const answer = await api.sendMessage(NUMBER, ana, m);
    assert.ok(!answer.error, `${m._type} ${JSON.stringify(m)}: ${JSON.stringify(answer.error)}`);
  }
});

test('whatsapp-api-js: whom the business blocks', async () => {
  const blocked = await api.blockUser(NUMBER, ana, '+34600999999');
  assert.deepEqual(blocked.block_users.added_users, [{ input: ana, wa_id: '34600111222' }]);
  assert.equal(blocked.block_users.failed_users[0].errors[0].code, 131047, 'did not write in the last day');
  assert.equal(blocked.error.code, 139100);
  assert.equal((await api.sendMessage(NUMBER, ana, new M.Text('x'))).error.code, 130403);
  assert.deepEqual(await api.unblockUser(NUMBER, ana), { messaging_product: 'whatsapp', block_users: { removed_users: [{ input: ana, wa_id: '34600111222' }] } });
  assert.ok((await api.sendMessage(NUMBER, ana, new M.Text('x'))).messages);
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
  const where = await media.get({ mediaId: file.id, phoneNumberId: NUMBER });
  assert.equal(where.mimeType ?? where.mime_type, 'image/png');
  assert.deepEqual(new Uint8Array(await media.download({ mediaId: file.id, phoneNumberId: NUMBER, as: 'arrayBuffer', auth: 'always' })), png);
  await media.delete({ mediaId: file.id, phoneNumberId: NUMBER });
  await assert.rejects(media.get({ mediaId: file.id, phoneNumberId: NUMBER }), GraphApiError);
});

test('kapso: shops, forms, addresses, permissions and cards', async () => {
  const to = { phoneNumberId: NUMBER, to: ana, bodyText: 'look' };
  const header = { type: 'image', image: { link: 'https://example.com/a.jpg' } };
  const sent = [
    await messages.sendInteractiveProduct({ ...to, catalogId: '7', productRetailerId: 'bread' }),
    await messages.sendInteractiveProductList({ ...to, header: { type: 'text', text: 'Today' }, catalogId: '7', sections: [{ title: 's', productItems: [{ productRetailerId: 'bread' }] }] }),
    await messages.sendInteractiveCatalogMessage({ ...to, parameters: { thumbnailProductRetailerId: 'bread' } }),
    await messages.sendInteractiveFlow({ ...to, parameters: { flowId: '1', flowCta: 'Begin', flowToken: 't', flowMessageVersion: '3', flowAction: 'navigate', flowActionPayload: { screen: 'FIRST' } } }),
    await messages.sendInteractiveAddress({ ...to, parameters: { country: 'IN', values: { name: 'Asha' } } }),
    await messages.sendInteractiveCallPermission({ ...to, parameters: { phoneNumber: ana } }),
    await messages.sendInteractiveCarousel({ ...to, cards: [0, 1].map((cardIndex) => ({ cardIndex, header, bodyText: 'c', action: { displayText: 'See', url: 'https://example.com' } })) }),
    await messages.sendInteractiveCarousel({ ...to, cards: [0, 1].map((cardIndex) => ({ cardIndex, header, action: { buttons: [{ id: `${cardIndex}`, title: 'This' }] } })) }),
    await messages.sendInteractiveRaw({ ...to, interactive: { type: 'order_status', body: { text: '?' }, action: { name: 'review_order', parameters: { reference_id: 'r', order: { status: 'shipped' } } } } }),
  ];
  for (const s of sent) assert.match(s.messages[0].id, /^wamid\./);
});

test('kapso: templates, settings, and errors of its own class', async () => {
  const account = { businessAccountId: WABA };
  const made = await templates.create({ ...account, name: 'bread_ready', language: 'es', category: 'UTILITY', parameterFormat: 'NAMED', components: [
    { type: 'BODY', text: 'Hola {{name}}, su pan está listo en la tienda.', example: { bodyTextNamedParams: [{ paramName: 'name', example: 'Ana' }] } }] });
  assert.ok(made.id);
  const { data } = await templates.list({ ...account, name: 'bread_ready' });
  assert.deepEqual(data.map((t) => `${t.name} ${t.language} ${t.status}`), ['bread_ready es APPROVED']);
  await messages.sendTemplate({ phoneNumberId: NUMBER, to: ana, template: { name: 'bread_ready', language: { code: 'es' },
    components: [{ type: 'body', parameters: [{ type: 'text', parameterName: 'name', text: 'Ana' }] }] } });
  const graph = (code, category, action) => (e) => {
    assert.ok(e instanceof GraphApiError, `${e}`);
    assert.deepEqual([e.code, e.category, e.retry.action], [code, category, action], `${JSON.stringify(e)}`);
    assert.ok(e.fbtraceId);
    return true;
  };
  await assert.rejects(messages.sendTemplate({ phoneNumberId: NUMBER, to: ana, template: { name: 'bread_ready', language: { code: 'es' } } }), graph(132000, 'template', 'fix_and_retry'));
  assert.equal((await templates.delete({ ...account, name: 'bread_ready' })).success, true);
  const text = () => messages.sendText({ phoneNumberId: NUMBER, to: ana, body: 'x' });
  for (const [code, category, action] of [[130429, 'throttling', 'retry_after'], [131056, 'throttling', 'retry_after'], [131031, 'integrity', 'do_not_retry'], [190, 'authorization', 'refresh_token']]) {
    await control('fail', { do: 'error', code, count: 1 });
    await assert.rejects(text(), graph(code, category, action));
  }
  const number = { phoneNumberId: NUMBER };
  assert.equal((await phoneNumbers.settings.update({ ...number, calling: { status: 'ENABLED', callIconVisibility: 'DEFAULT' } })).success, true);
  const { calling } = await phoneNumbers.settings.get(number);
  assert.equal(calling.status, 'ENABLED');
});

test('great-detail: messages, files, templates and numbers', async () => {
  const to = { phoneNumberID: NUMBER, to: ana };
  const sent = await great.message.createMessage({ ...to, type: 'text', text: { body: 'así 📦' } }).json();
  assert.match(sent.messages[0].id, /^wamid\./);
  assert.deepEqual(await great.message.createStatus({ phoneNumberID: NUMBER, status: 'read', message_id: 'wamid.x', typing_indicator: { type: 'text' } }).json(), { success: true });
  const { id } = await great.media.upload({ phoneNumberID: NUMBER, file: new Blob([png], { type: 'image/png' }), filename: 'ñ "1".png', mimeType: 'image/png' }).json();
  const where = await great.media.getURL({ mediaID: id, phoneNumberID: NUMBER }).json();
  assert.equal(where.mime_type, 'image/png');
  await assert.rejects(great.media.getURL({ mediaID: id, phoneNumberID: FRESH }).json(), /400/);
  assert.deepEqual(await great.media.delete({ mediaID: id, phoneNumberID: NUMBER }).json(), { success: true });
  const made = await great.template.create(WABA, { name: 'cake', language: 'en_US', category: 'MARKETING', components: [
    { type: 'BODY', text: 'New cakes every day' }, { type: 'BUTTONS', buttons: [{ type: 'COPY_CODE', example: 'CAKE' }, { type: 'QUICK_REPLY', text: 'No more' }] }] }).json();
  const one = await great.template.get(made.id, { fields: ['name', 'status', 'components'] }).json();
  assert.deepEqual([one.id, one.name, one.status], [made.id, 'cake', 'APPROVED']);
  const { data } = await great.template.list(WABA, { status: 'APPROVED', fields: ['name', 'language'], limit: 100 }).json();
  assert.ok(data.some((t) => t.name === 'cake'), JSON.stringify(data));
  assert.deepEqual(await great.template.update(made.id, { components: [{ type: 'BODY', text: 'New cakes, every day' }] }).json(), { success: true });
  assert.deepEqual(await great.template.delete(WABA, { name: 'cake', hsm_id: made.id }).json(), { success: true });
  const numbers = await great.phoneNumbers.listPhoneNumbers({ businessAccountID: WABA, fields: ['display_phone_number', 'quality_rating'] }).json();
  assert.equal(numbers.data.length, 2);
  assert.equal((await great.phoneNumbers.getPhoneNumber({ phoneNumberID: NUMBER, fields: ['status'] }).json()).status, 'CONNECTED');
  await great.businessProfile.updateBusinessProfile({ phoneNumberID: NUMBER, vertical: 'RETAIL' }).json();
  const profile = await great.businessProfile.getBusinessProfile({ phoneNumberID: NUMBER, fields: ['vertical'] }).json();
  assert.equal(profile.data[0].vertical, 'RETAIL');
});

test('whatsapp-business: an older version of the API, files in chunks, and errors that it explains', async () => {
  const link = 'https://example.com/a.jpg';
  for (const m of [{ type: 'text', text: { body: 'hello' } }, { type: 'image', image: { link } }, { type: 'location', location: { latitude: 40.4, longitude: -3.7 } },
    { type: 'template', template: { name: 'hello_world', language: { code: 'en_US' } } }]) {
    const answer = await business.sendMessage({ to: ana, recipient_type: 'individual', ...m });
    assert.match(answer.messages[0].id, /^wamid\./);
  }
  assert.deepEqual(await business.markMessageAsRead('wamid.x'), { success: true });
  await writeFile('a.png', png);
  const { id } = await business.uploadMedia({ file: 'a.png', type: 'image/png' });
  const where = await business.getMedia(id);
  const saved = await business.downloadMedia(where.url, 'b.png');
  await new Promise((ok) => { saved.on('finish', ok); });
  assert.deepEqual(new Uint8Array(await readFile('b.png')), png);
  assert.deepEqual(await business.deleteMedia(id), { success: true });
  assert.equal((await business.getBusinessPhoneNumbers()).data.length, 2);
  assert.equal((await business.getSingleBusinessPhoneNumber(NUMBER)).id, NUMBER);
  assert.deepEqual(await business.setupTwoStepAuth({ phoneNumberId: NUMBER, pin: '123456' }), { success: true });
  assert.deepEqual(await business.updateIdentityCheckState({ enable_identity_key_check: true }), { success: true });
  await business.updateBusinessProfile({ about: 'Open' });
  assert.equal((await business.getBusinessProfile(['about'])).data[0].about, 'Open');
  await assert.rejects(business.sendMessage({ to: '+34600999999', type: 'text', text: { body: 'too late' } }), (e) => {
    assert.equal(e.code, 131047);
    assert.match(e.error_data.details, /24 hours/);
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
