"""The Python etcd3gw client, which speaks to the JSON gateway, against one member.

Usage: python_gateway.py HOST PORT. Exits non-zero at the first difference.
"""

import base64
import sys
import threading
import time

import etcd3gw


def keys(client):
    assert client.status()["version"].startswith("3."), client.status()
    assert client.put("/gw/a", "1") and client.put("/gw/b", "2")
    assert client.get("/gw/a") == [b"1"] and client.get("/gw/none") == []
    value, meta = client.get("/gw/a", metadata=True)[0]
    assert value == b"1" and meta["key"] == b"/gw/a" and meta["version"] == "1", meta
    found = [(meta["key"], value) for value, meta in client.get_prefix("/gw/", sort_order="descend")]
    assert found == [(b"/gw/b", b"2"), (b"/gw/a", b"1")], found
    assert client.replace("/gw/a", "1", "4") and not client.replace("/gw/a", "1", "5")
    assert client.create("/gw/c", "x") and not client.create("/gw/c", "y")
    assert client.delete("/gw/c") and not client.delete("/gw/c")
    assert client.delete_prefix("/gw/")
    assert client.get_prefix("/gw/") == []


def transactions(client):
    def text(value):
        return base64.b64encode(value).decode()

    txn = {
        "compare": [{"key": text(b"/gw/t"), "result": "EQUAL", "target": "CREATE", "create_revision": 0}],
        "success": [{"request_put": {"key": text(b"/gw/t"), "value": text(b"new")}}],
        "failure": [{"request_range": {"key": text(b"/gw/t")}}],
    }
    assert client.transaction(txn)["succeeded"] is True
    answer = client.transaction(txn)
    assert "succeeded" not in answer, answer
    assert answer["responses"][0]["response_range"]["kvs"][0]["value"] == text(b"new"), answer


def leases(client):
    lease = client.lease(ttl=30)
    assert client.put("/gw/l", "leased", lease)
    assert lease.ttl() >= 28 and lease.keys() == [b"/gw/l"], lease.keys()
    assert lease.refresh() == 30
    assert lease.revoke()
    assert client.get("/gw/l") == []
    with client.lock("gw-lock", ttl=10) as lock:
        assert lock.is_acquired()
    assert not lock.is_acquired()


def watches(client):
    events, cancel = client.watch_prefix("/gw/w/")
    threading.Timer(0.5, lambda: client.put("/gw/w/1", "one")).start()
    first = next(events)
    assert first["kv"]["key"] == b"/gw/w/1" and first["kv"]["value"] == b"one", first
    client.delete("/gw/w/1")
    assert next(events)["type"] == "DELETE"
    cancel()
    threading.Timer(0.5, lambda: client.put("/gw/once", "x")).start()
    assert client.watch_once("/gw/once", timeout=10)["kv"]["value"] == b"x"


def members(client):
    found = client.members()
    assert len(found) == 1 and found[0]["clientURLs"], found


def main():
    client = etcd3gw.client(host=sys.argv[1], port=int(sys.argv[2]), api_path="/v3/")
    began = time.monotonic()
    for part in (keys, transactions, leases, watches, members):
        part(client)
        print(f"etcd3gw {part.__name__}: fine after {time.monotonic() - began:.1f} s")


main()
