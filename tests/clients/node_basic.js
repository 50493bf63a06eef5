// The Node etcd3 client against one member. Usage: node node_basic.js ENDPOINT (etcd3 on NODE_PATH).
'use strict';

const assert = require('node:assert');
const { Etcd3 } = require('etcd3');

const client = new Etcd3({ hosts: process.argv[2] });

async function keys() {
  await client.put('/js/a').value('1');
  await client.put('/js/b').value('2');
  assert.strictEqual(await client.get('/js/a').string(), '1');
  assert.strictEqual(await client.get('/js/none'), null);
  assert.deepStrictEqual(await client.getAll().prefix('/js/').strings(), { '/js/a': '1', '/js/b': '2' });
  assert.deepStrictEqual(await client.getAll().prefix('/js/').sort('Key', 'Descend').keys(), ['/js/b', '/js/a']);
  assert.strictEqual(await client.getAll().prefix('/js/').count(), 2);
  const gone = await client.delete().prefix('/js/');
  assert.strictEqual(Number(gone.deleted), 2);
}

async function transactions() {
  const made = await client.if('/js/t', 'Create', '==', 0).then(client.put('/js/t').value('x')).commit();
  assert.ok(made.succeeded);
  const again = await client.if('/js/t', 'Create', '==', 0).then(client.put('/js/t').value('y')).else(client.get('/js/t')).commit();
  assert.ok(!again.succeeded);
  assert.strictEqual(again.responses[0].response_range.kvs[0].value.toString(), 'x');
}

async function leases() {
  const lease = client.lease(5, { autoKeepAlive: false });
  await lease.put('/js/l').value('leased');
  await lease.keepaliveOnce();
  assert.strictEqual(await client.get('/js/l').string(), 'leased');
  await lease.revoke();
  assert.strictEqual(await client.get('/js/l'), null);
}

async function watches() {
  const watcher = await client.watch().prefix('/js/w/').create();
  const seen = [];
  const done = new Promise((resolve) => watcher.on('put', (kv) => seen.push(kv.value.toString()) === 20 && resolve()));
  for (let i = 0; i < 20; i++) await client.put(`/js/w/${i}`).value(String(i));
  await done;
  assert.deepStrictEqual(seen, Array.from({ length: 20 }, (_, i) => String(i)));
  await watcher.cancel();
}

async function locks() {
  const lock = client.lock('js-lock');
  await lock.acquire();
  await assert.rejects(client.lock('js-lock').acquire());
  await lock.release();
}

async function maintenance() {
  const status = await client.maintenance.status();
  assert.ok(status.version.startsWith('3.'));
  const list = await client.cluster.memberList({});
  assert.strictEqual(list.members.length, 1);
}

async function main() {
  await client.delete().prefix('/js/');
  for (const check of [keys, transactions, leases, watches, locks, maintenance]) {
    await check();
    console.log(`node etcd3: ${check.name} ok`);
  }
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
