"""What the usual dashboards and alerts of etcd ask, asked of a Prometheus that scrapes three members.

Usage: dashboards.py PROMETHEUS SERVER [PORT]

PROMETHEUS is its program, SERVER the command of a member, for example "oxetcd server". The members
run with a load for a minute; then every query of the Grafana dashboard and every alert of etcd's mixin
is evaluated. A query must have an answer for every member (or one for all of them); of an alert, the
side that it compares must. Exits non-zero when one has none.
"""

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

COUNT = 3
S = 'job=~".*etcd.*"'
D = S + ', job="etcd"'
FAILED = ('grpc_code=~"Unknown|FailedPrecondition|ResourceExhausted|Internal|Unavailable|DataLoss'
          '|DeadlineExceeded"')
UNARY = 'grpc_type="unary"'


def quantile(name, selector, by="by (instance, le)"):
    return f"histogram_quantile(0.99, sum(rate({name}_bucket{{{selector}}}[1m])) {by})"


def open_streams(service):
    selector = f'job="etcd",grpc_service="etcdserverpb.{service}",grpc_type="bidi_stream"'
    return (f"sum(grpc_server_started_total{{{S},{selector}}}) - "
            f"sum(grpc_server_handled_total{{{selector}}})")


# Name, expression, how many answers it must have at least.
PANELS = [
    ("up", f"sum(etcd_server_has_leader{{{D}}})", 1),
    ("RPC rate", f"sum(rate(grpc_server_started_total{{{D},{UNARY}}}[1m]))", 1),
    ("RPC failed rate", f"sum(rate(grpc_server_handled_total{{{D},{UNARY},{FAILED}}}[1m]))", 1),
    ("watch streams", open_streams("Watch"), 1),
    ("lease streams", open_streams("Lease"), 1),
    ("DB size", f"etcd_mvcc_db_total_size_in_bytes{{{D}}}", 3),
    ("WAL fsync", quantile("etcd_disk_wal_fsync_duration_seconds", D), 3),
    ("DB fsync", quantile("etcd_disk_backend_commit_duration_seconds", D), 3),
    ("memory", f"process_resident_memory_bytes{{{D}}}", 3),
    ("client traffic in", f"rate(etcd_network_client_grpc_received_bytes_total{{{D}}}[1m])", 3),
    ("client traffic out", f"rate(etcd_network_client_grpc_sent_bytes_total{{{D}}}[1m])", 3),
    ("peer traffic in",
     f"sum(rate(etcd_network_peer_received_bytes_total{{{D}}}[1m])) by (instance)", 3),
    ("peer traffic out",
     f"sum(rate(etcd_network_peer_sent_bytes_total{{{D}}}[1m])) by (instance)", 3),
    ("leader elections", f"changes(etcd_server_leader_changes_seen_total{{{D}}}[1d])", 3),
    ("peer round trip time", quantile("etcd_network_peer_round_trip_time_seconds", D), 3),
    # The dashboard of releases before 3.6.
    ("proposals failed", f"rate(etcd_server_proposals_failed_total{{{D}}}[1m])", 3),
    ("proposals pending", f"sum(etcd_server_proposals_pending{{{D}}})", 1),
    ("proposals committed", f"rate(etcd_server_proposals_committed_total{{{D}}}[1m])", 3),
    ("proposals applied", f"rate(etcd_server_proposals_applied_total{{{D}}}[1m])", 3),
]
RATIO = (f"100 * sum(rate(grpc_server_handled_total{{{S}, {FAILED}}}[5m])) without (grpc_type, grpc_code)"
         f" / sum(rate(grpc_server_handled_total{{{S}}}[5m])) without (grpc_type, grpc_code)")
# Alerts: name, what is compared, the comparison, answers of the first part.
ALERTS = [
    ("members down",
     f"max without (endpoint) (sum without (instance) (up{{{S}}} == bool 0) or count without (To) "
     f"(sum without (instance) (rate(etcd_network_peer_sent_failures_total{{{S}}}[2m])) > bool 0.01))",
     "> 0", 1),
    ("insufficient members",
     f"sum(up{{{S}}} == bool 1) without (instance)",
     f"< ((count(up{{{S}}}) without (instance) + 1) / 2)", 1),
    ("no leader", f"etcd_server_has_leader{{{S}}}", "== 0", 3),
    ("leader changes",
     f"increase((max without (instance) (etcd_server_leader_changes_seen_total{{{S}}}) or "
     f"0*absent(etcd_server_leader_changes_seen_total{{{S}}}))[15m:1m])", ">= 4", 1),
    ("failed gRPC requests", RATIO, "> 5", 3),
    ("gRPC requests slow",
     f'histogram_quantile(0.99, sum(rate(grpc_server_handling_seconds_bucket{{{S}, '
     f'grpc_method!="Defragment", {UNARY}}}[5m])) without(grpc_type))', "> 0.15", 3),
    ("member communication slow",
     f"histogram_quantile(0.99, rate(etcd_network_peer_round_trip_time_seconds_bucket{{{S}}}[5m]))",
     "> 0.15", 6),
    ("failed proposals", f"rate(etcd_server_proposals_failed_total{{{S}}}[15m])", "> 5", 3),
    ("fsync durations",
     f"histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket{{{S}}}[5m]))",
     "> 0.5", 3),
    ("commit durations",
     f"histogram_quantile(0.99, rate(etcd_disk_backend_commit_duration_seconds_bucket{{{S}}}[5m]))",
     "> 0.25", 3),
    ("quota low space",
     f"(last_over_time(etcd_mvcc_db_total_size_in_bytes{{{S}}}[5m]) / "
     f"last_over_time(etcd_server_quota_backend_bytes{{{S}}}[5m]))*100", "> 95", 3),
    ("excessive growth",
     f"predict_linear(etcd_mvcc_db_total_size_in_bytes{{{S}}}[4h], 4*60*60)",
     f"> etcd_server_quota_backend_bytes{{{S}}}", 3),
    ("fragmentation",
     f"(last_over_time(etcd_mvcc_db_total_size_in_use_in_bytes{{{S}}}[5m]) / "
     f"last_over_time(etcd_mvcc_db_total_size_in_bytes{{{S}}}[5m]))",
     f"< 0.5 and etcd_mvcc_db_total_size_in_use_in_bytes{{{S}}} > 104857600", 3),
]


def post(port, path, body, timeout=10):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def text(value):
    return base64.b64encode(value.encode()).decode()


def load(port, stop):
    n = 0
    while not stop.is_set():
        n += 1
        try:
            post(port, "/v3/kv/put", {"key": text(f"k{n % 100}"), "value": text("v" * 100)})
            post(port, "/v3/kv/range", {"key": text("k1")})
        except OSError:
            pass
        time.sleep(0.02)


def watch(port, stop):
    """Keeps a watch and a lease stream open."""
    body = json.dumps({"create_request": {"key": text("k"), "range_end": text("l")}}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v3/watch", body)
    with urllib.request.urlopen(request, timeout=5) as answer:
        while not stop.is_set():
            answer.readline()


def start_members(server, port, folder):
    peer = lambda n: f"http://127.0.0.1:{port + 10 + n}"
    cluster = ",".join(f"m{n}={peer(n)}" for n in range(COUNT))
    for n in range(COUNT):
        client = f"http://127.0.0.1:{port + n}"
        log = open(f"{folder}/m{n}.log", "wb")
        yield subprocess.Popen(server.split() + [
            f"--name=m{n}", f"--data-dir={folder}/m{n}", f"--initial-cluster={cluster}",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer(n)}", f"--initial-advertise-peer-urls={peer(n)}",
            f"--listen-metrics-urls=http://127.0.0.1:{port + 20 + n}", "--metrics=extensive",
        ], stdout=log, stderr=log)


def start_prometheus(program, port, folder):
    targets = [f"127.0.0.1:{port + 20 + n}" for n in range(COUNT)]
    with open(f"{folder}/prometheus.yml", "w") as file:
        json.dump({"global": {"scrape_interval": "2s"},
                   "scrape_configs": [{"job_name": "etcd", "static_configs": [{"targets": targets}]}]},
                  file)
    log = open(f"{folder}/prometheus.log", "wb")
    return subprocess.Popen([
        program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port + 30}"], stdout=log, stderr=log)


def ask(port, expression):
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://127.0.0.1:{port + 30}/api/v1/query?{query}", timeout=20) as answer:
        return json.load(answer)["data"]["result"]


def wait(port):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            return post(port, "/v3/kv/put", {"key": text("k"), "value": text("v")})
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the members do not serve")


def evaluate(port):
    failures = 0
    for name, expression, least in PANELS:
        found = ask(port, expression)
        values = [round(float(one["value"][1]), 6) for one in found]
        good = len(found) >= least and all(value == value for value in values)
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} panel {name}: {values[:3]}\n       {expression}")
    for name, expression, comparison, least in ALERTS:
        found = ask(port, expression)
        firing = ask(port, f"({expression}) {comparison}")
        good = len(found) >= least and not firing
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} alert {name}: {len(found)} series, {len(firing)} fire\n"
              f"       {expression} {comparison}")
    print(f"{len(PANELS)} panels and {len(ALERTS)} alerts, {failures} without what they need")
    return failures


def main():
    prometheus, server = sys.argv[1], sys.argv[2]
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 34200
    folder = tempfile.mkdtemp(prefix="dashboards-")
    stop = threading.Event()
    processes = []
    failures = 1
    try:
        processes += start_members(server, port, folder)
        processes.append(start_prometheus(prometheus, port, folder))
        for n in range(COUNT):
            wait(port + n)
            threading.Thread(target=load, args=(port + n, stop), daemon=True).start()
            threading.Thread(target=watch, args=(port + n, stop), daemon=True).start()
        time.sleep(70)
        failures = evaluate(port)
    finally:
        stop.set()
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        if failures:
            print(f"logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failures else 0)


main()
