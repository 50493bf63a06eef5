"""The Python etcd3 client against one member: every call that it has for keys, leases and watches.

Usage: python_basic.py HOST PORT. Exits non-zero at the first difference.
"""

import sys
import threading
import time

import etcd3


def keys(client):
    client.put("/py/a", "1")
    client.put("/py/b", "2")
    value, meta = client.get("/py/a")
    assert value == b"1" and meta.key == b"/py/a" and meta.version == 1, (value, meta)
    assert client.get("/py/none") == (None, None)
    found = [(m.key, v) for v, m in client.get_prefix("/py/", sort_order="descend")]
    assert found == [(b"/py/b", b"2"), (b"/py/a", b"1")], found
    assert [v for v, _ in client.get_range("/py/a", "/py/b")] == [b"1"]
    previous = client.put("/py/a", "3", prev_kv=True)
    assert previous.prev_kv.value == b"1", previous
    assert client.replace("/py/a", "3", "4") and not client.replace("/py/a", "3", "5")
    assert client.put_if_not_exists("/py/c", "x") and not client.put_if_not_exists("/py/c", "y")
    assert client.delete("/py/c") and not client.delete("/py/c")
    assert client.delete_prefix("/py/").deleted == 2


def transactions(client):
    ok, answers = client.transaction(
        compare=[client.transactions.version("/py/t") == 0],
        success=[client.transactions.put("/py/t", "new"), client.transactions.get("/py/t")],
        failure=[client.transactions.delete("/py/t")],
    )
    assert ok and answers[1][0][0] == b"new", answers
    ok, answers = client.transaction(
        compare=[client.transactions.value("/py/t") == "other"],
        success=[],
        failure=[client.transactions.delete("/py/t")],
    )
    assert not ok and client.get("/py/t") == (None, None), answers


def leases(client):
    lease = client.lease(3)
    client.put("/py/l", "leased", lease=lease)
    assert lease.remaining_ttl >= 1 and lease.granted_ttl == 3
    assert list(lease.keys) == [b"/py/l"], lease.keys
    assert list(lease.refresh())[0].TTL == 3
    lease.revoke()
    assert client.get("/py/l") == (None, None)
    short = client.lease(2)
    client.put("/py/short", "gone soon", lease=short)
    for _ in range(100):
        if client.get("/py/short") == (None, None):
            return
        time.sleep(0.1)
    raise AssertionError("the lease did not expire in 10 s")


def watches(client):
    events, cancel = client.watch_prefix("/py/w/")
    writer = threading.Thread(
        target=lambda: [client.put(f"/py/w/{i}", str(i)) for i in range(50)]
        and client.delete("/py/w/0")
    )
    writer.start()
    seen = [next(events) for _ in range(51)]
    writer.join()
    cancel()
    assert [e.value for e in seen[:50]] == [str(i).encode() for i in range(50)], seen
    assert isinstance(seen[50], etcd3.events.DeleteEvent) and seen[50].key == b"/py/w/0"


def locks(client):
    with client.lock("py-lock", ttl=5) as lock:
        assert lock.is_acquired()
        assert client.get(lock.key)[0] == lock.uuid
    assert client.get(lock.key) == (None, None)


def maintenance(client):
    status = client.status()
    assert status.version.startswith("3.") and status.leader is not None, status
    members = list(client.members)
    assert len(members) == 1 and members[0].client_urls, members
    client.put("/py/m", "1")
    client.compact(client.get("/py/m")[1].mod_revision)
    client.defragment()
    assert list(client.list_alarms()) == []


def main():
    client = etcd3.client(host=sys.argv[1], port=int(sys.argv[2]), timeout=10)
    client.delete_prefix("/py/")
    for check in (keys, transactions, leases, watches, locks, maintenance):
        check(client)
        print(f"python etcd3: {check.__name__} ok")


main()
