// HubSpot's own client, against the imitation: node hubspot.mjs URL
import assert from 'node:assert/strict';
import { test } from 'node:test';
import hubspot from '@hubspot/api-client';

const url = process.argv[2];
const client = new hubspot.Client({ accessToken: 'pat-sdk', basePath: url, numberOfApiCallRetries: 0 });
const { contacts, companies, tickets, properties, objects, associations } = client.crm;
const { communications } = objects;

// refused expects the client's ApiException with this status, and returns its body.
async function refused(status, promise) {
  let body;
  await assert.rejects(promise, (e) => {
    assert.equal(e.code, status, `${e}`);
    body = e.body;
    assert.equal(body.status, 'error');
    assert.ok(body.message && body.correlationId, JSON.stringify(body));
    return true;
  });
  return body;
}

const rule = (propertyName, operator, more) => ({ propertyName, operator, ...more });
const search = (...filters) => ({ filterGroups: [{ filters }], properties: ['phone'], limit: 10, after: '0', sorts: [] });

test('properties: groups, unique ones, enumerations, errors', async () => {
  const group = await properties.groupsApi.create('contacts', { name: 'sdk', label: 'SDK', displayOrder: 1 });
  assert.equal(group.name, 'sdk');
  const groups = await properties.groupsApi.getAll('contacts');
  assert.ok(groups.results.some((g) => g.name === 'sdk'));
  assert.equal((await properties.groupsApi.getByName('contacts', 'sdk')).label, 'SDK');
  const text = { groupName: 'sdk', type: 'string', fieldType: 'text' };
  const key = await properties.coreApi.create('contacts', { ...text, name: 'sdk_id', label: 'SDK id', hasUniqueValue: true });
  assert.equal(key.hasUniqueValue, true);
  assert.ok(key.createdAt instanceof Date);
  await properties.coreApi.create('contacts', {
    groupName: 'sdk', name: 'sdk_tags', label: 'Tags', type: 'enumeration', fieldType: 'checkbox',
    options: [{ label: 'A', value: 'a', displayOrder: 0, hidden: false }, { label: 'B', value: 'b', displayOrder: 1, hidden: false }],
  });
  const tags = await properties.coreApi.getByName('contacts', 'sdk_tags');
  assert.deepEqual(tags.options.map((o) => o.value), ['a', 'b']);
  assert.ok((await properties.coreApi.getAll('contacts')).results.some((p) => p.name === 'sdk_id'));
  const more = await properties.batchApi.create('contacts', { inputs: [{ ...text, name: 'sdk_note', label: 'Note' }] });
  assert.equal(more.results[0].name, 'sdk_note');
  const read = await properties.batchApi.read('contacts', { archived: false, inputs: [{ name: 'sdk_note' }, { name: 'sdk_id' }] });
  assert.equal(read.results.length, 2);
  assert.equal((await properties.coreApi.update('contacts', 'sdk_note', { label: 'Another' })).label, 'Another');
  await properties.coreApi.archive('contacts', 'sdk_note');
  await refused(404, properties.coreApi.getByName('contacts', 'sdk_note'));
  await refused(409, properties.coreApi.create('contacts', { ...text, name: 'sdk_id', label: 'again' }));
  const bad = await refused(400, properties.coreApi.create('contacts', { ...text, name: 'SDK Id', label: 'x' }));
  assert.equal(bad.category, 'VALIDATION_ERROR');
  await properties.groupsApi.create('communications', { name: 'sdk', label: 'SDK' });
  await properties.coreApi.create('communications', { ...text, name: 'sdk_wamid', label: 'wamid', hasUniqueValue: true });
});

let ana;
test('contacts: one at a time', async () => {
  ana = await contacts.basicApi.create({ properties: { firstname: 'Ana', email: 'ana@example.com', sdk_id: 'c1', sdk_tags: 'a;b' }, associations: [] });
  assert.match(ana.id, /^[0-9]+$/);
  assert.ok(ana.createdAt instanceof Date && !Number.isNaN(+ana.createdAt));
  assert.equal(ana.archived, false);
  const got = await contacts.basicApi.getById(ana.id, ['firstname', 'sdk_id', 'lastname']);
  assert.equal(got.properties.firstname, 'Ana');
  assert.equal(got.properties.sdk_id, 'c1');
  assert.equal(got.properties.lastname, null, 'a property that is asked for and has no value is null');
  assert.equal((await contacts.basicApi.getById('c1', ['firstname'], undefined, undefined, false, 'sdk_id')).id, ana.id);
  assert.equal((await contacts.basicApi.getById('ana@example.com', undefined, undefined, undefined, false, 'email')).id, ana.id);
  const plain = await contacts.basicApi.getById(ana.id);
  assert.ok('createdate' in plain.properties && 'lastmodifieddate' in plain.properties && 'email' in plain.properties);
  assert.ok(!('sdk_id' in plain.properties), 'properties of the account come only when asked for');
  await contacts.basicApi.update(ana.id, { properties: { phone: '+34600000001' } });
  await contacts.basicApi.update('c1', { properties: { lastname: 'Pérez 🎈' } }, 'sdk_id');
  const after = await contacts.basicApi.getById(ana.id, ['lastname', 'phone'], ['phone']);
  assert.equal(after.properties.lastname, 'Pérez 🎈');
  assert.equal(after.propertiesWithHistory.phone[0].value, '+34600000001');
  const gone = await contacts.basicApi.create({ properties: { firstname: 'Gone' }, associations: [] });
  await contacts.basicApi.archive(gone.id);
  await refused(404, contacts.basicApi.getById(gone.id));
  const archived = await contacts.basicApi.getPage(10, undefined, undefined, undefined, undefined, true);
  assert.deepEqual(archived.results.map((r) => r.id), [gone.id]);
  assert.ok(archived.results[0].archivedAt instanceof Date);
});

test('contacts: errors', async () => {
  const known = await refused(409, contacts.basicApi.create({ properties: { firstname: 'x', email: 'ANA@example.com' }, associations: [] }));
  assert.equal(known.category, 'CONFLICT');
  assert.match(known.message, new RegExp(`Existing ID: ${ana.id}`));
  for (const wrong of [{ firstname: 'x', nobody: '1' }, { firstname: 'x', sdk_tags: 'z' }, { firstname: 'x', email: 'no' }, { phone: '1' }, { firstname: 'x', sdk_id: 'c1' }]) {
    assert.equal((await refused(400, contacts.basicApi.create({ properties: wrong, associations: [] }))).category, 'VALIDATION_ERROR');
  }
  await refused(404, contacts.basicApi.update('999999', { properties: { firstname: 'x' } }));
  await refused(401, new hubspot.Client({ accessToken: 'pat-wrong', basePath: url }).crm.contacts.basicApi.getPage());
});

test('contacts: batches, partly refused', async () => {
  const up = await contacts.batchApi.upsert({ inputs: [
    { id: 'c1', idProperty: 'sdk_id', properties: { firstname: 'Ana B' }, objectWriteTraceId: 't1' },
    { id: 'c2', idProperty: 'sdk_id', properties: { firstname: 'Bea' }, objectWriteTraceId: 't2' },
  ] });
  assert.deepEqual(up.results.map((r) => [r._new, r.objectWriteTraceId]), [[false, 't1'], [true, 't2']]);
  assert.equal(up.status, 'COMPLETE');
  assert.ok(up.startedAt instanceof Date && up.completedAt instanceof Date);
  const mixed = await contacts.batchApi.upsert({ inputs: [
    { id: 'c3', idProperty: 'sdk_id', properties: { firstname: 'Cara' }, objectWriteTraceId: 't3' },
    { id: 'c4', idProperty: 'sdk_id', properties: { sdk_tags: 'none', firstname: 'D' }, objectWriteTraceId: 't4' },
  ] });
  assert.equal(mixed.numErrors, 1);
  assert.deepEqual(mixed.errors[0].context.objectWriteTraceId, ['t4']);
  assert.equal(mixed.results[0].properties.sdk_id, 'c3');
  const made = await contacts.batchApi.create({ inputs: [{ properties: { firstname: 'Eva' }, associations: [] }, { properties: { firstname: 'Fay' }, associations: [] }] });
  assert.equal(made.results.length, 2);
  const changed = await contacts.batchApi.update({ inputs: made.results.map((r) => ({ id: r.id, properties: { city: 'Madrid' } })) });
  assert.equal(changed.results[1].properties.city, 'Madrid');
  const read = await contacts.batchApi.read({ idProperty: 'sdk_id', properties: ['firstname'], propertiesWithHistory: [], inputs: [{ id: 'c1' }, { id: 'c9' }] });
  assert.equal(read.results.length, 1);
  assert.equal(read.numErrors, 1);
  await contacts.batchApi.archive({ inputs: made.results.map((r) => ({ id: r.id })) });
  assert.match((await refused(400, contacts.batchApi.upsert({ inputs: [
    { id: 'c1', idProperty: 'sdk_id', properties: {} }, { id: 'c1', idProperty: 'sdk_id', properties: {} }] }))).message, /Duplicate/);
  await refused(400, contacts.batchApi.create({ inputs: Array.from({ length: 101 }, () => ({ properties: { firstname: 'x' }, associations: [] })) }));
});

test('contacts: search and pages', async () => {
  const found = await contacts.searchApi.doSearch(search(rule('phone', 'EQ', { value: '+34600000001' })));
  assert.equal(found.total, 1);
  assert.equal(found.results[0].id, ana.id);
  assert.equal((await contacts.searchApi.doSearch(search(rule('sdk_id', 'IN', { values: ['c1', 'c2'] })))).total, 2);
  const first = await contacts.searchApi.doSearch({ ...search(rule('firstname', 'HAS_PROPERTY')), limit: 2, sorts: ['firstname'] });
  assert.equal(first.results.length, 2);
  const second = await contacts.searchApi.doSearch({ ...search(rule('firstname', 'HAS_PROPERTY')), limit: 2, after: first.paging.next.after, sorts: ['firstname'] });
  assert.notEqual(second.results[0].id, first.results[0].id);
  await refused(400, contacts.searchApi.doSearch(search(rule('nobody', 'EQ', { value: '1' }))));
  await refused(400, contacts.searchApi.doSearch({ ...search(rule('phone', 'EQ', { value: '1' })), limit: 201 }));
  const all = await contacts.getAll(1, undefined, ['firstname']);
  assert.deepEqual(all.map((c) => c.properties.firstname), ['Ana B', 'Bea', 'Cara']);
});

test('communications, companies, tickets and their associations', async () => {
  const properties = { hs_communication_channel_type: 'WHATS_APP', hs_communication_logged_from: 'CRM', hs_communication_body: 'Hello', hs_timestamp: '2026-11-01T10:00:00Z', sdk_wamid: 'w1' };
  const message = await communications.basicApi.create({ properties,
    associations: [{ to: { id: ana.id }, types: [{ associationCategory: 'HUBSPOT_DEFINED', associationTypeId: 81 }] }] });
  const again = await communications.batchApi.upsert({ inputs: [{ id: 'w1', idProperty: 'sdk_wamid', properties: { hs_communication_body: 'Hello!' } }] });
  assert.equal(again.results[0].id, message.id);
  const read = await communications.basicApi.getById(message.id, ['hs_communication_body'], undefined, ['contacts']);
  assert.equal(read.properties.hs_communication_body, 'Hello!');
  assert.equal(read.associations.contacts.results[0].id, ana.id);

  const other = await communications.basicApi.create({ properties: { ...properties, sdk_wamid: 'w2' }, associations: [] });
  const tied = await associations.v4.batchApi.createDefault('communications', 'contacts', { inputs: [{ _from: { id: other.id }, to: { id: ana.id } }] });
  assert.equal(tied.status, 'COMPLETE');
  assert.ok(tied.results.length > 0);
  const page = await associations.v4.batchApi.getPage('contacts', 'communications', { inputs: [{ id: ana.id }] });
  assert.deepEqual(page.results[0].to.map((e) => e.toObjectId).sort(), [message.id, other.id].sort());
  assert.equal(page.results[0].to[0].associationTypes[0].typeId, 82);
  const single = await associations.v4.basicApi.getPage('contacts', ana.id, 'communications');
  assert.equal(single.results.length, 2);
  const company = await companies.basicApi.create({ properties: { name: 'Acme' }, associations: [] });
  await associations.v4.basicApi.createDefault('contacts', ana.id, 'companies', company.id);
  await associations.v4.basicApi.create('contacts', ana.id, 'companies', company.id, [{ associationCategory: 'HUBSPOT_DEFINED', associationTypeId: 279 }]);
  assert.equal((await associations.v4.basicApi.getPage('companies', company.id, 'contacts')).results[0].toObjectId, ana.id);
  await associations.v4.batchApi.archive('contacts', 'companies', { inputs: [{ _from: { id: ana.id }, to: [{ id: company.id }] }] });
  assert.equal((await associations.v4.basicApi.getPage('companies', company.id, 'contacts')).results.length, 0);
  await refused(404, associations.v4.basicApi.createDefault('contacts', ana.id, 'companies', '999999'));

  const ticket = await tickets.basicApi.create({ properties: { subject: 'Help', hs_pipeline: '0', hs_pipeline_stage: '1' },
    associations: [{ to: { id: ana.id }, types: [{ associationCategory: 'HUBSPOT_DEFINED', associationTypeId: 16 }] }] });
  assert.equal((await tickets.basicApi.update(ticket.id, { properties: { hs_pipeline_stage: '4' } })).properties.hs_pipeline_stage, '4');
  assert.match((await refused(400, tickets.basicApi.create({ properties: { subject: 'x' }, associations: [] }))).message, /hs_pipeline_stage/);
  await refused(400, communications.basicApi.create({ properties: { hs_communication_body: 'x' }, associations: [] }));
  assert.equal((await objects.basicApi.getById('tickets', ticket.id, ['subject'])).properties.subject, 'Help');
});

test('lists and who is in them', async () => {
  const { listsApi, membershipsApi } = client.crm.lists;
  const { list } = await listsApi.create({ name: 'SDK people', objectTypeId: '0-1', processingType: 'MANUAL' });
  assert.deepEqual([list.name, list.processingStatus, list.objectTypeId], ['SDK people', 'COMPLETE', '0-1']);
  assert.ok(list.createdAt instanceof Date);
  const added = await membershipsApi.add(list.listId, [ana.id, '999999']);
  assert.deepEqual([added.recordsIdsAdded, added.recordIdsMissing], [[ana.id], ['999999']]);
  const found = await listsApi.doSearch({ query: 'sdk', additionalProperties: ['hs_list_size'], offset: 0, count: 500, listIds: [], processingTypes: [], objectTypeId: '0-1' });
  assert.deepEqual([found.total, found.hasMore, found.lists[0].listId, found.lists[0].additionalProperties.hs_list_size], [1, false, list.listId, '1']);
  assert.equal((await listsApi.getById(list.listId)).list.size, 1);
  for (const page of [await membershipsApi.getPage(list.listId, undefined, undefined, 250), await membershipsApi.getPageOrderedByAddedToListDate(list.listId)]) {
    assert.deepEqual([page.total, page.results[0].recordId], [1, ana.id]);
    assert.ok(page.results[0].membershipTimestamp instanceof Date);
  }
  await refused(400, membershipsApi.getPage(list.listId, undefined, undefined, 251));
  await listsApi.remove(list.listId);
  await refused(404, membershipsApi.getPage(list.listId));
});

test('an app signs in by its refresh token', async () => {
  const { tokensApi, accessTokensApi } = new hubspot.Client({ basePath: url }).oauth;
  const ask = (more) => {
    const is = { grant: 'refresh_token', client: 'app', secret: 'secret', refresh: 'refresh', ...more };
    return tokensApi.create(is.grant, undefined, undefined, is.client, is.secret, is.refresh);
  };
  const got = await ask({});
  assert.equal(got.expiresIn, 1800);
  assert.equal(got.tokenType, 'bearer');
  assert.equal(got.refreshToken, 'refresh');
  const known = await accessTokensApi.get(got.accessToken);
  assert.ok(known.scopes.includes('crm.objects.contacts.read') && known.hubId > 0);
  const app = new hubspot.Client({ basePath: url });
  app.setAccessToken(got.accessToken);
  assert.ok((await app.crm.contacts.basicApi.getPage(1)).results.length > 0);
  for (const [what, status] of [[{ refresh: 'x' }, 'BAD_REFRESH_TOKEN'], [{ client: 'x' }, 'BAD_CLIENT_ID'], [{ secret: 'x' }, 'BAD_CLIENT_SECRET'], [{ grant: 'x' }, 'BAD_GRANT_TYPE']]) {
    await assert.rejects(ask(what), (e) => e.code === 400 && JSON.stringify(e.body).includes(status));
  }
});

test('erasing', async () => {
  await contacts.basicApi.purge({ objectId: ana.id });
  await refused(404, contacts.basicApi.getById(ana.id));
});

test('a webhook bears the signature that the client checks', () => {
  const hook = JSON.parse(process.env.HOOK);
  const said = { signatureVersion: 'v3', method: 'POST', clientSecret: hook.secret, url: hook.url, requestBody: hook.body, timestamp: hook.timestamp, signature: hook.v3 };
  assert.ok(hubspot.Signature.isValid(said));
  assert.ok(!hubspot.Signature.isValid({ ...said, requestBody: hook.body + ' ' }));
  assert.ok(hubspot.Signature.isValid({ signatureVersion: 'v1', clientSecret: hook.secret, requestBody: hook.body, signature: hook.v1 }));
});

test('a limit and an outage are told so that the client waits for them', async () => {
  const fault = (f) => fetch(`${url}/_sim/faults`, { method: 'POST', body: JSON.stringify(f) });
  await fault({ kind: 'status', status: 429, policy: 'SECONDLY', count: 1 });
  const limited = await refused(429, companies.basicApi.getPage(1));
  assert.equal(limited.policyName, 'SECONDLY');
  assert.equal(limited.message, 'You have reached your secondly limit.');
  const patient = new hubspot.Client({ accessToken: 'pat-sdk', basePath: url, numberOfApiCallRetries: 2 });
  const speak = console.error;
  const said = [];
  console.error = (line) => said.push(line);
  await fault({ kind: 'status', status: 503, count: 1 });
  try { await patient.crm.companies.basicApi.getPage(1); } finally { console.error = speak; }
  assert.match(said.join(), /\[503\], will retry/);
});
