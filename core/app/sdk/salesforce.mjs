// jsforce, which Salesforce's own tools are built on, against the imitation:
// node salesforce.mjs URL
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import jsforce from '@jsforce/jsforce-node';

const url = process.argv[2];
const app = JSON.parse(process.env.APP);
const oauth2 = { loginUrl: url, clientId: app.client, clientSecret: app.secret };
const client = (more) => new jsforce.Connection({ loginUrl: url, oauth2, version: '66.0', ...more });
const conn = client();
const revoke = () => fetch(`${url}/_sim/revoke`, { method: 'POST' });

// refused expects the client's error with this code, and returns it.
async function refused(code, promise) {
  let error;
  await assert.rejects(promise, (e) => {
    error = e;
    assert.equal(e.errorCode ?? e.name, code, `${e}`);
    return true;
  });
  return error;
}

function assertion(claims) {
  const part = (v) => Buffer.from(JSON.stringify(v)).toString('base64url');
  const text = `${part({ alg: 'RS256' })}.${part({ iss: app.client, sub: app.user, aud: 'https://login.salesforce.com', exp: Math.floor(Date.now() / 1000) + 180, ...claims })}`;
  return { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: `${text}.${crypto.sign('sha256', text, app.key).toString('base64url')}` };
}

test('signing in: client credentials, JWT, refresh token, and what is refused', async () => {
  const user = await conn.authorize({ grant_type: 'client_credentials' });
  assert.match(user.organizationId, /^00D/);
  assert.match(user.id, /^005/);
  assert.equal(conn.instanceUrl, url);
  const who = await conn.identity();
  assert.equal(who.username, app.user);
  assert.equal(who.user_id, user.id);

  const byJWT = client();
  await byJWT.authorize(assertion({}));
  assert.ok((await byJWT.limits()).DailyApiRequests.Max > 0);
  assert.ok(byJWT.limitInfo.apiUsage.used > 0);
  await refused('invalid_grant', client().authorize(assertion({ aud: 'https://example.com' })));
  await refused('invalid_grant', client().authorize(assertion({ exp: Math.floor(Date.now() / 1000) - 1 })));
  assert.match((await refused('invalid_grant', client().authorize(assertion({ sub: 'nobody@example.com' })))).message, /approved/);
  await refused('invalid_client_id', client({ oauth2: { ...oauth2, clientId: 'another' } }).authorize({ grant_type: 'client_credentials' }));
  await refused('invalid_client', client({ oauth2: { ...oauth2, clientSecret: 'wrong' } }).authorize({ grant_type: 'client_credentials' }));
  await refused('unsupported_grant_type', client().authorize({ grant_type: 'magic' }));

  const lasting = client({ instanceUrl: url, accessToken: 'expired', refreshToken: app.refresh });
  const tokens = [];
  lasting.on('refresh', (token) => tokens.push(token));
  await Promise.all([lasting.limits(), lasting.limits()]);
  assert.equal(tokens.length, 1, 'two requests with an expired token, one refresh');
  await revoke();
  await lasting.limits();
  assert.equal(tokens.length, 2);
  await assert.rejects(client({ instanceUrl: url, accessToken: 'expired', refreshToken: 'wrong' }).limits(), /expired access\/refresh token/);
  await refused('INVALID_SESSION_ID', new jsforce.Connection({ instanceUrl: url, accessToken: 'expired' }).limits());

  await conn.authorize({ grant_type: 'client_credentials' });
  const leaving = client();
  await leaving.authorize({ grant_type: 'client_credentials' });
  const left = leaving.accessToken;
  await leaving.logout();
  await refused('INVALID_SESSION_ID', new jsforce.Connection({ instanceUrl: url, accessToken: left }).limits());
});

test('what there is: versions, resources, objects, fields', async () => {
  const versions = await (await fetch(`${url}/services/data/`)).json();
  assert.ok(versions.some((v) => v.version === '66.0'));
  assert.ok('sobjects' in await conn.request('/'));
  const all = await conn.describeGlobal();
  assert.ok(all.sobjects.some((o) => o.name === 'WhatsApp_Message__c' && o.custom));
  const contact = await conn.describe('Contact');
  assert.equal(contact.keyPrefix, '003');
  const key = contact.fields.find((f) => f.name === 'WA_Contact_Id__c');
  assert.ok(key.externalId && key.unique && key.nillable);
  assert.equal(contact.fields.find((f) => f.name === 'LastName').nillable, false);
  await refused('NOT_FOUND', conn.describe('Hologram__c'));
});

let ana;
test('one record: create, read, update, upsert, delete', async () => {
  const made = await conn.sobject('Contact').create({ LastName: 'Pérez', FirstName: 'Ana', WA_Contact_Id__c: 'c1', MobilePhone: '+34 600 00 00 01' });
  assert.equal(made.success, true);
  assert.deepEqual(made.errors, []);
  ana = made.id;
  assert.match(ana, /^003.{15}$/);
  const got = await conn.sobject('Contact').retrieve(ana);
  assert.equal(got.Name, 'Ana Pérez');
  assert.equal(got.attributes.type, 'Contact');
  assert.equal(got.Email, null);
  assert.ok(!Number.isNaN(+new Date(got.CreatedDate)));
  assert.deepEqual(Object.keys(await conn.retrieve('Contact', ana, { fields: ['LastName'] })).sort(), ['LastName', 'attributes']);
  assert.deepEqual(await conn.sobject('Contact').update({ Id: ana, Email: 'ana@example.com' }), { id: ana, success: true, errors: [] });
  const again = await conn.sobject('Contact').upsert({ WA_Contact_Id__c: 'c1', Department: 'Sales' }, 'WA_Contact_Id__c');
  assert.deepEqual([again.id, again.created, again.success], [ana, false, true]);
  const fresh = await conn.sobject('Contact').upsert({ WA_Contact_Id__c: 'c2', LastName: 'Bea' }, 'WA_Contact_Id__c');
  assert.equal(fresh.created, true);
  assert.equal((await conn.request(`/sobjects/Contact/WA_Contact_Id__c/c2`)).Id, fresh.id);
  assert.equal((await conn.sobject('Contact').destroy(fresh.id)).success, true);
  await refused('NOT_FOUND', conn.sobject('Contact').retrieve(fresh.id));
  await refused('NOT_FOUND', conn.sobject('Contact').destroy(fresh.id));

  const missing = await refused('REQUIRED_FIELD_MISSING', conn.sobject('Contact').create({ FirstName: 'x' }));
  assert.deepEqual(missing.data.fields, ['LastName']);
  await refused('INVALID_FIELD', conn.sobject('Contact').create({ LastName: 'x', Nobody__c: '1' }));
  await refused('STRING_TOO_LONG', conn.sobject('Contact').create({ LastName: 'x'.repeat(81) }));
  await refused('INVALID_EMAIL_ADDRESS', conn.sobject('Contact').update({ Id: ana, Email: 'no' }));
  await refused('DUPLICATE_VALUE', conn.sobject('Contact').create({ LastName: 'x', WA_Contact_Id__c: 'C1' }));
  await refused('INVALID_FIELD_FOR_INSERT_UPDATE', conn.sobject('Contact').create({ LastName: 'x', CreatedDate: '2020-01-01T00:00:00Z' }));
  await refused('JSON_PARSER_ERROR', conn.sobject('Contact').create({ LastName: 7 }));
  await refused('NOT_FOUND', conn.sobject('Hologram__c').create({ LastName: 'x' }));
  await refused('NOT_FOUND', conn.sobject('Contact').upsert({ LastName: 'x', Email: 'a@b.c' }, 'Email'));
});

test('collections: each row has its own answer, or all stand together', async () => {
  const up = await conn.sobject('Contact').upsert([
    { WA_Contact_Id__c: 'c1', Email: 'new@example.com' }, { WA_Contact_Id__c: 'c3', LastName: 'Cara' }, { WA_Contact_Id__c: 'c4' },
  ], 'WA_Contact_Id__c');
  assert.deepEqual(up.map((r) => [r.success, r.created]), [[true, false], [true, true], [false, undefined]]);
  assert.equal(up[2].errors[0].statusCode, 'REQUIRED_FIELD_MISSING');
  const made = await conn.sobject('Contact').create([{ LastName: 'Dora' }, { FirstName: 'nobody' }]);
  assert.deepEqual(made.map((r) => r.success), [true, false]);
  const none = await conn.sobject('Contact').create([{ LastName: 'Eva' }, { FirstName: 'nobody' }], { allOrNone: true });
  assert.deepEqual(none.map((r) => r.errors[0].statusCode), ['ALL_OR_NONE_OPERATION_ROLLED_BACK', 'REQUIRED_FIELD_MISSING']);
  assert.equal(await conn.sobject('Contact').count({ LastName: 'Eva' }), 0);
  const changed = await conn.sobject('Contact').update([{ Id: made[0].id, Department: 'A' }, { Id: '003000000999999AAA', Department: 'B' }]);
  assert.deepEqual(changed.map((r) => r.success), [true, false]);
  const read = await conn.sobject('Contact').retrieve([made[0].id, '003000000999999AAA']);
  assert.equal(read[0].Department, 'A');
  assert.equal(read[1], null);
  const gone = await conn.sobject('Contact').destroy([made[0].id, '003000000999999AAA']);
  assert.deepEqual(gone.map((r) => r.success), [true, false]);
  const many = await conn.sobject('Contact').create(Array.from({ length: 450 }, (_, i) => ({ LastName: `Many ${i}`, Department: 'many' })), { allowRecursive: true });
  assert.ok(many.length === 450 && many.every((r) => r.success));
  await refused('EXCEEDED_MAX_SOBJECTS_LIMIT', conn.sobject('Contact').create(Array.from({ length: 201 }, () => ({ LastName: 'x' }))));
});

test('messages and escalations are tied to their contact', async () => {
  const [m] = await conn.sobject('WhatsApp_Message__c').upsert([{ WA_Id__c: 'w1', Contact__c: ana, Body__c: 'Hello', Time__c: '2026-11-01T10:00:00Z' }], 'WA_Id__c');
  assert.ok(m.success && m.created);
  const found = await conn.query("SELECT Id, Contact__r.LastName, Contact__r.Email FROM WhatsApp_Message__c WHERE WA_Id__c = 'w1'");
  assert.equal(found.records[0].Contact__r.LastName, 'Pérez');
  assert.equal(found.records[0].Contact__r.attributes.type, 'Contact');
  const byKey = await conn.sobject('WhatsApp_Message__c').upsert([{ WA_Id__c: 'w2', Contact__r: { WA_Contact_Id__c: 'c1' } }, { WA_Id__c: 'w3', Contact__r: { WA_Contact_Id__c: 'nobody' } }], 'WA_Id__c');
  assert.deepEqual(byKey.map((r) => r.success), [true, false]);
  assert.equal(byKey[1].errors[0].statusCode, 'INVALID_FIELD');
  const help = await conn.sobject('Case').create({ Subject: 'Help', ContactId: ana, Status: 'New' });
  assert.match(help.id, /^500/);
  assert.equal((await conn.query(`SELECT Id, Contact.Name FROM Case WHERE ContactId = '${ana}'`)).records[0].Contact.Name, 'Ana Pérez');
  await refused('INVALID_CROSS_REFERENCE_KEY', conn.sobject('Case').create({ Subject: 'x', ContactId: '003000000999999AAA' }));
});

test('queries: built, paged, sorted, counted, refused', async () => {
  const built = await conn.sobject('Contact').find({ LastName: { $like: 'Many 1%' } }, ['Id', 'LastName']).sort({ LastName: -1 }).limit(5).skip(1);
  assert.equal(built.length, 5);
  assert.equal(built[0].LastName, 'Many 198');
  assert.equal((await conn.sobject('Contact').findOne({ WA_Contact_Id__c: 'c1' })).Id, ana);
  assert.equal(await conn.sobject('Contact').count({ Department: 'many' }), 450);
  const page = await conn.query("SELECT Id FROM Contact WHERE Department = 'many'", { headers: { 'Sforce-Query-Options': 'batchSize=200' } });
  assert.deepEqual([page.totalSize, page.done, page.records.length], [450, false, 200]);
  const next = await conn.queryMore(page.nextRecordsUrl);
  assert.deepEqual([next.done, next.records.length], [false, 200]);
  assert.deepEqual([(await conn.queryMore(next.nextRecordsUrl)).done], [true]);
  const all = await conn.query("SELECT Id FROM Contact WHERE Department = 'many'", { headers: { 'Sforce-Query-Options': 'batchSize=200' }, autoFetch: true, maxFetch: 1000 });
  assert.equal(new Set(all.records.map((r) => r.Id)).size, 450);
  assert.equal((await conn.query("SELECT Id FROM Contact WHERE LastName = 'Dora'")).totalSize, 0);
  assert.equal((await conn.query("SELECT Id, IsDeleted FROM Contact WHERE LastName = 'Dora'", { scanAll: true })).records[0].IsDeleted, true);
  const since = jsforce.SfDate.toDateTimeLiteral(new Date(Date.now() - 60000));
  assert.ok((await conn.sobject('Contact').find({ SystemModstamp: { $gte: since } }).sort({ SystemModstamp: 1, Id: 1 }).limit(3)).length === 3);
  for (const [code, q] of [['MALFORMED_QUERY', 'SELECT Id FROM'], ['INVALID_FIELD', 'SELECT Nobody FROM Contact'], ['INVALID_TYPE', 'SELECT Id FROM Hologram'],
    ['INVALID_FIELD', "SELECT Id FROM Contact WHERE Description = 'x'"], ['INVALID_FIELD', 'SELECT Nobody__r.Name FROM Case']]) {
    await refused(code, conn.query(q));
  }
  const both = await conn.requestPost('/composite', { compositeRequest: [
    { method: 'GET', url: "/services/data/v66.0/query?q=SELECT+Id+FROM+Contact+LIMIT+1", referenceId: 'a' },
    { method: 'GET', url: "/services/data/v66.0/query?q=SELECT+Nobody+FROM+Contact", referenceId: 'b' },
  ] });
  assert.deepEqual(both.compositeResponse.map((r) => r.httpStatusCode), [200, 400]);
});

test('trouble comes as the client knows it', async () => {
  const fault = (f) => fetch(`${url}/_sim/faults`, { method: 'POST', body: JSON.stringify(f) });
  await fault({ kind: 'row', code: 'UNABLE_TO_LOCK_ROW', row: 'c1', count: 1 });
  const [row] = await conn.sobject('Contact').upsert([{ WA_Contact_Id__c: 'c1', Department: 'x' }], 'WA_Contact_Id__c');
  assert.equal(row.errors[0].statusCode, 'UNABLE_TO_LOCK_ROW');
  await fault({ kind: 'status', status: 403, code: 'REQUEST_LIMIT_EXCEEDED', message: 'TotalRequests Limit exceeded.', count: 1 });
  await refused('REQUEST_LIMIT_EXCEEDED', conn.sobject('Contact').create({ LastName: 'x' }));
  await fault({ kind: 'status', status: 502, count: 1 });
  await refused('ERROR_HTTP_502', conn.sobject('Contact').create({ LastName: 'x' }));
});
