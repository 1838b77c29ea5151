// Zoho's own client, against the imitation: node zoho.mjs URL
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as zoho from '@zohocrm/nodejs-sdk-8.0';

const url = process.argv[2];
const { Record, CustomViews, Notes, Tags, Coql, Fields, Modules, Notifications, Choice, ParameterMap, HeaderMap } = zoho;
const dir = process.cwd();

async function signIn(secret = 'secret') {
  const token = new zoho.OAuthBuilder().clientId('1000.SDK').clientSecret(secret).refreshToken('1000.refresh').findUser(false).build();
  const store = new zoho.FileStore(`${dir}/tokens.${secret}.txt`);
  const init = await new zoho.InitializeBuilder();
  await init.environment(new zoho.Environment(url, `${url}/oauth/v2/token`, url)).token(token).store(store)
    .SDKConfig(new zoho.SDKConfigBuilder().autoRefreshFields(false).pickListValidation(false).build())
    .resourcePath(dir).logger(new zoho.LogBuilder().level(zoho.Levels.OFF).filePath(`${dir}/zoho.log`).build()).initialize();
  return token;
}

// record makes one to write; what is not of a plain type is passed as the client wants it.
function record(values) {
  const r = new Record.Record();
  for (const [name, v] of Object.entries(values)) r.addKeyValue(name, v);
  return r;
}

function body(rows, more = {}) {
  const b = new Record.BodyWrapper();
  b.setData(rows.map(record));
  if (more.keys) b.setDuplicateCheckFields(more.keys);
  if (more.trigger) b.setTrigger(more.trigger);
  return b;
}

async function params(list) {
  const p = new ParameterMap();
  for (const [param, v] of list) await p.add(param, v);
  return p;
}

// rows tells how each row of an answer ended.
function rows(response) {
  const answer = response.getObject();
  assert.ok(answer.getData, `no rows: ${answer.constructor.name} ${answer.getCode?.().getValue()} ${answer.getMessage?.().getValue?.() ?? answer.getMessage?.()}`);
  return answer.getData().map((row) => ({
    code: row.getCode().getValue(), details: row.getDetails(), id: row.getDetails().get('id') && BigInt(row.getDetails().get('id')),
    good: row instanceof Record.SuccessResponse, action: row.getAction?.()?.getValue?.(), field: row.getDuplicateField?.(),
  }));
}

// refused expects the client's APIException for the whole request.
function refused(response, status, code) {
  assert.equal(response.getStatusCode(), status);
  const e = response.getObject();
  assert.match(e.constructor.name, /APIException/);
  assert.equal(e.getCode().getValue(), code);
  assert.equal(e.getStatus().getValue(), 'error');
  return e;
}

const contacts = () => new Record.RecordOperations('Contacts');
const key = { keys: ['WA_Contact_ID'] };

test('signing in: the refresh token, and what is refused', async () => {
  await assert.rejects(signIn('wrong'), (e) => {
    assert.match(JSON.stringify([e.code, e.message, `${e}`]), /invalid_client_secret/);
    return true;
  });
  const token = await signIn();
  assert.match(token.getAccessToken(), /^1000\./);
  assert.ok(+token.getExpiresIn() > Date.now());
});

test('what there is: modules and fields', async () => {
  const modules = (await new Modules.ModulesOperations().getModules(new ParameterMap(), new HeaderMap())).getObject().getModules();
  const contactsModule = modules.find((m) => m.getAPIName() === 'Contacts');
  assert.equal(contactsModule.getAPISupported(), true);
  assert.equal(contactsModule.getGeneratedType().getValue(), 'default');
  assert.equal(modules.find((m) => m.getAPIName() === 'WhatsApp_Messages').getGeneratedType().getValue(), 'custom');
  const fields = (await new Fields.FieldsOperations().getFields(await params([[Fields.GetFieldsParam.MODULE, 'Contacts']]))).getObject().getFields();
  const of = (name) => fields.find((f) => f.getAPIName() === name);
  assert.equal(of('Last_Name').getSystemMandatory(), true);
  assert.equal(of('WA_Contact_ID').getCustomField(), true);
  assert.equal(of('WA_Contact_ID').getDataType(), 'text');
  assert.ok(of('WA_Contact_ID').getUnique());
  assert.equal(typeof of('Email').getId(), 'bigint');
  refused(await new Fields.FieldsOperations().getFields(await params([[Fields.GetFieldsParam.MODULE, 'Holograms']])), 400, 'INVALID_MODULE');
});

let ana;
test('contacts: insert, read, update, upsert, delete', async () => {
  const made = rows(await contacts().createRecords(body([{ Last_Name: 'Pérez', First_Name: 'Ana', WA_Contact_ID: 'c1', Phone: '+34 600 00 00 01' }])));
  assert.deepEqual([made[0].good, made[0].code], [true, 'SUCCESS']);
  ana = made[0].id;
  const got = (await contacts().getRecord(ana)).getObject().getData()[0];
  assert.equal(got.getId(), ana);
  assert.equal(got.getKeyValue('Last_Name'), 'Pérez');
  assert.equal(got.getKeyValue('Full_Name'), 'Ana Pérez');
  assert.ok(got.getModifiedTime() instanceof Date && !Number.isNaN(+got.getModifiedTime()));
  assert.equal(got.getModifiedBy().getName(), 'wabridge');
  assert.equal(rows(await contacts().updateRecord(ana, body([{ Email: 'ana@example.com' }])))[0].code, 'SUCCESS');
  assert.equal(rows(await contacts().updateRecords(body([{ id: ana, Mailing_City: 'Madrid' }])))[0].code, 'SUCCESS');
  const up = rows(await contacts().upsertRecords(body([{ WA_Contact_ID: 'C1', First_Name: 'Anna' }, { WA_Contact_ID: 'c2', Last_Name: 'Bea' }], key)));
  assert.deepEqual(up.map((r) => [r.action, r.field]), [['update', 'WA_Contact_ID'], ['insert', null]].map(([a, f]) => [a, f ?? up[1].field]));
  assert.equal(up[0].id, ana);
  const bea = up[1].id;
  assert.equal(rows(await contacts().deleteRecord(bea, new ParameterMap()))[0].code, 'SUCCESS');
  const gone = await contacts().getRecord(bea);
  assert.equal(gone.getStatusCode(), 204);
});

test('contacts: what is refused, row by row and whole', async () => {
  const mixed = await contacts().upsertRecords(body([{ WA_Contact_ID: 'c3', Last_Name: 'Cara' }, { WA_Contact_ID: 'c4' }], key));
  assert.equal(mixed.getStatusCode(), 207);
  assert.deepEqual(rows(mixed).map((r) => r.code), ['SUCCESS', 'MANDATORY_NOT_FOUND']);
  assert.equal(rows(mixed)[1].details.get('api_name'), 'Last_Name');
  const double = rows(await contacts().createRecords(body([{ Last_Name: 'x', WA_Contact_ID: 'c1' }])));
  assert.deepEqual([double[0].good, double[0].code], [false, 'DUPLICATE_DATA']);
  assert.equal(rows(await contacts().updateRecord(999999n, body([{ Email: 'a@example.com' }])))[0].code, 'INVALID_DATA');
  assert.equal(rows(await contacts().createRecords(body([{ Last_Name: 'x'.repeat(81) }])))[0].code, 'INVALID_DATA');
  refused(await contacts().upsertRecords(body([{ Last_Name: 'x' }], { keys: ['Phone'] })), 400, 'INVALID_DATA');
  refused(await contacts().createRecords(body(Array.from({ length: 101 }, () => ({ Last_Name: 'x' })))), 400, 'LIMIT_EXCEEDED');
});

test('contacts: pages, search, COQL', async () => {
  await contacts().createRecords(body(Array.from({ length: 60 }, (_, i) => ({ Last_Name: `Many ${i}`, Mobile: `+3461000${1000 + i}` }))));
  const P = Record.GetRecordsParam;
  const page = (n) => params([[P.FIELDS, 'Last_Name,Mobile'], [P.PER_PAGE, 50], [P.PAGE, n]]);
  const first = (await contacts().getRecords(await page(1), new HeaderMap())).getObject();
  assert.deepEqual([first.getData().length, first.getInfo().getMoreRecords(), first.getInfo().getCount()], [50, true, 50]);
  const second = (await contacts().getRecords(await page(2), new HeaderMap())).getObject();
  assert.equal(second.getInfo().getMoreRecords(), false);
  const S = Record.SearchRecordsParam;
  const search = async (...p) => contacts().searchRecords(await params([...p, [S.FIELDS, 'Last_Name,Phone']]), new HeaderMap());
  assert.equal((await search([S.PHONE, '600 00 00 01'])).getObject().getData()[0].getId(), ana);
  assert.equal((await search([S.EMAIL, 'ana@example.com'])).getObject().getData()[0].getId(), ana);
  assert.equal((await search([S.CRITERIA, '(WA_Contact_ID:equals:c1)'])).getObject().getData()[0].getId(), ana);
  assert.equal((await search([S.CRITERIA, '((Last_Name:starts_with:Many 1)and(Last_Name:not_equal:Many 1))'])).getObject().getData().length, 10);
  assert.equal((await search([S.WORD, 'Madrid'])).getObject().getData()[0].getId(), ana);
  assert.equal((await search([S.PHONE, '999999999'])).getStatusCode(), 204);
  refused(await search([S.PHONE, '1']), 400, 'INVALID_DATA');
  refused(await search([S.CRITERIA, '(Nobody:equals:c1)']), 400, 'INVALID_QUERY');
  const coql = async (query) => {
    const b = new Coql.BodyWrapper();
    b.setSelectQuery(query);
    return new Coql.CoqlOperations().getRecords(b);
  };
  const found = (await coql("select id, Last_Name from Contacts where Mobile like '%1003' limit 0, 10")).getObject();
  assert.equal(found.getData()[0].getKeyValue('Last_Name'), 'Many 3');
  assert.equal(found.getInfo().getMoreRecords(), false);
  const sorted = (await coql("select Last_Name from Contacts where Last_Name like 'Many%' order by Last_Name desc limit 2 offset 1")).getObject();
  assert.deepEqual(sorted.getData().map((r) => r.getKeyValue('Last_Name')), ['Many 8', 'Many 7']);
  assert.equal((await coql("select id from Contacts where Last_Name = 'Nobody'")).getStatusCode(), 204);
  refused(await coql("select id from Contacts where Last_Name = 'x' or Last_Name = 'y' or Last_Name = 'z'"), 400, 'SYNTAX_ERROR');
});

test('views: which there are, and who is in one, by tokens', async () => {
  const ids = rows(await contacts().createRecords(body(Array.from({ length: 5 }, (_, i) => ({ Last_Name: `Member ${i}` }))))).map((r) => r.id);
  const made = await fetch(`${url}/_sim/view?module=Contacts`, { method: 'POST', body: JSON.stringify({ name: 'Winter', members: ids.map(String) }) });
  const view = (await made.json()).id;
  const V = CustomViews.GetCustomViewsParam;
  const views = (await new CustomViews.CustomViewsOperations().getCustomViews(await params([[V.MODULE, 'Contacts'], [V.PAGE, 1], [V.PER_PAGE, 200]]))).getObject();
  assert.deepEqual(views.getCustomViews().map((v) => [v.getName(), v.getSystemDefined()]), [['All Contacts', true], ['Winter', false]]);
  assert.equal(views.getCustomViews()[1].getId(), BigInt(view));
  assert.equal(views.getInfo().getMoreRecords(), false);
  const P = Record.GetRecordsParam;
  const page = async (...more) => (await contacts().getRecords(await params([[P.CVID, view], [P.FIELDS, 'Last_Name,Phone'], [P.PER_PAGE, 3], ...more]), new HeaderMap()));
  const first = (await page()).getObject();
  assert.deepEqual([first.getInfo().getSortBy(), first.getInfo().getSortOrder(), first.getInfo().getMoreRecords()], ['id', 'desc', true]);
  assert.ok(first.getInfo().getPageTokenExpiry() instanceof Date);
  const second = (await page([P.PAGE_TOKEN, first.getInfo().getNextPageToken()])).getObject();
  assert.deepEqual([...first.getData(), ...second.getData()].map((r) => r.getId()), ids.toReversed());
  refused(await page([P.PAGE_TOKEN, 'x']), 400, 'TOKEN_BOUND_DATA_MISMATCH');
});

test('messages, tasks and notes of a contact', async () => {
  const messages = new Record.RecordOperations('WhatsApp_Messages');
  const row = { Name: 'Hello', WA_Message_ID: 'w1', Contact: record({ id: ana }), Message_Time: new Date('2026-11-01T10:00:00Z'), Direction: 'in' };
  const up = rows(await messages.upsertRecords(body([row], { keys: ['WA_Message_ID'], trigger: [] })));
  assert.equal(up[0].action, 'insert');
  assert.equal(rows(await messages.upsertRecords(body([{ ...row, Status: 'read' }], { keys: ['WA_Message_ID'] })))[0].action, 'update');
  const got = (await messages.getRecord(up[0].id)).getObject().getData()[0];
  assert.equal(got.getKeyValue('Contact').getId(), ana);
  assert.equal(+got.getKeyValue('Message_Time'), Date.UTC(2026, 10, 1, 10));
  const task = rows(await new Record.RecordOperations('Tasks').createRecords(body([{ Subject: 'Call', Who_Id: record({ id: ana }), Due_Date: new Date('2026-12-01') }])));
  assert.equal(task[0].code, 'SUCCESS');

  const note = new Notes.Note();
  note.setNoteTitle('t');
  note.setNoteContent('They wrote');
  const parent = new Notes.ParentId();
  parent.setId(ana);
  const module = new Modules.MinifiedModule();
  module.setAPIName('Contacts');
  parent.setModule(module);
  note.setParentId(parent);
  const b = new Notes.BodyWrapper();
  b.setData([note]);
  const made = (await new Notes.NotesOperations().createNotes(b)).getObject().getData()[0];
  assert.equal(made.getCode().getValue(), 'SUCCESS');
  const read = (await new Notes.NotesOperations().getNotes(await params([[Notes.GetNotesParam.FIELDS, 'Note_Title,Note_Content,Parent_Id']]), new HeaderMap())).getObject().getData()[0];
  assert.equal(read.getNoteContent(), 'They wrote');
  assert.equal(read.getParentId().getId(), ana);
});

test('tags', async () => {
  const tag = (name) => { const t = new Tags.Tag(); t.setName(name); return t; };
  const b = new Tags.NewTagRequestWrapper();
  b.setTags([tag('vip')]);
  b.setIds([ana]);
  const added = (await new Tags.TagsOperations().addTagsToMultipleRecords('Contacts', b, new ParameterMap())).getObject().getData()[0];
  assert.equal(added.getCode().getValue(), 'SUCCESS');
  assert.deepEqual((await contacts().getRecord(ana)).getObject().getData()[0].getTag().map((t) => t.getName()), ['vip']);
  const was = new Tags.ExistingTagRequestWrapper();
  const vip = new Tags.ExistingTag();
  vip.setName('vip');
  was.setTags([vip]);
  was.setIds([ana]);
  const off = (await new Tags.TagsOperations().removeTagsFromMultipleRecords('Contacts', was)).getObject().getData()[0];
  assert.equal(off.getCode().getValue(), 'SUCCESS');
});

test('notifications: subscribed, read, renewed, refused, ended', async () => {
  const operations = new Notifications.NotificationsOperations();
  const watch = (url, more = 0) => {
    const n = new Notifications.Notification();
    n.setChannelId('1000000068001');
    n.setEvents(['Contacts.all']);
    n.setChannelExpiry(new Date(Date.now() + 86400_000 + more));
    n.setToken('token');
    n.setNotifyUrl(url);
    const b = new Notifications.BodyWrapper();
    b.setWatch([n]);
    return b;
  };
  const code = (r) => r.getObject().getWatch()[0].getCode().getValue();
  assert.equal(code(await operations.enableNotifications(watch('https://bridge.example/hooks'))), 'SUCCESS');
  const read = (await operations.getNotifications(await params([[Notifications.GetNotificationsParam.CHANNEL_ID, '1000000068001']]))).getObject().getWatch()[0];
  assert.equal(read.getNotifyUrl(), 'https://bridge.example/hooks');
  assert.equal(code(await operations.updateNotifications(watch('https://bridge.example/hooks', 1000))), 'SUCCESS');
  const off = () => params([[Notifications.DeleteNotificationParam.CHANNEL_IDS, '1000000068001']]);
  assert.equal(code(await operations.deleteNotification(await off())), 'SUCCESS');
  assert.equal(code(await operations.deleteNotification(await off())), 'NOT_SUBSCRIBED');
});

test('who was deleted', async () => {
  const D = Record.GetDeletedRecordsParam;
  const gone = (await contacts().getDeletedRecords(await params([[D.TYPE, 'all']]), new HeaderMap())).getObject();
  assert.deepEqual(gone.getData().map((r) => r.getDisplayName()), ['Bea']);
});

test('an access token is replaced when its hour is over', async (t) => {
  const stats = async () => (await (await fetch(`${url}/_sim/stats`)).json()).requests['POST /oauth/v2/token'];
  await fetch(`${url}/_sim/revoke`, { method: 'POST' });
  refused(await contacts().getRecord(ana), 401, 'INVALID_TOKEN');
  const before = await stats();
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 3600_000 });
  assert.equal((await contacts().getRecord(ana)).getStatusCode(), 200);
  assert.equal((await contacts().getRecord(ana)).getStatusCode(), 200);
  assert.equal(await stats(), before + 1);
});
