"""What large work in the background does to the latency of puts.

Usage: stalls.py BENCH SERVER [PORT [SCALE]]

BENCH is the command of the load generator ("oxetcd bench"), SERVER that of a member ("oxetcd server",
"etcd"). Puts come at a steady rate: first alone, then while 1,000,000 revisions are compacted, while
10,000 watchers catch up from an old revision, and while 100,000 leases expire. SCALE divides these
numbers. One line each, with the p99 as a multiple of the quiet one.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request

RATE, SECONDS, CLIENTS = 1000, 15, 64
# Leases granted early have to live until the last one is there.
TTL = 25


def main():
    bench, server = sys.argv[1].split(), sys.argv[2].split()
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 34001
    scale = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 11}"

    def generate(*args):
        report = subprocess.run(
            [*bench, *args, f"--endpoints=127.0.0.1:{port}", "--json=-"],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(report.stdout)["outcome"]

    def puts(*more, seconds=SECONDS):
        return generate("put", f"--rate={RATE}", f"--duration={seconds}s", f"--clients={CLIENTS}",
                        "--connections=8", "--key-space-size=10000", "--val-size=256", *more)

    def line(name, found, quiet=None):
        latency = found["latency"]
        times = f"{latency['p99_us'] / quiet['p99_us']:5.2f} x quiet" if quiet else ""
        errors = sum(error["count"] for error in found["errors"])
        print(f"{name:32} p50 {latency['p50_us'] / 1000:7.2f} ms  p99 {latency['p99_us'] / 1000:7.2f} ms"
              f"  max {latency['max_us'] / 1000:8.2f} ms  {errors} errors  {times}", flush=True)

    def call(path, **body):
        request = urllib.request.Request(client + path, data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    with tempfile.TemporaryDirectory(prefix="stalls-") as folder:
        with open(f"{folder}/log", "wb") as log:
            member = subprocess.Popen(
                [*server, f"--data-dir={folder}/data", f"--listen-client-urls={client}",
                 f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
                 f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
                 "--quota-backend-bytes=8589934592"], stdout=log, stderr=log)
        try:
            for _ in range(200):
                try:
                    call("/v3/maintenance/status")
                    break
                except OSError:
                    time.sleep(0.1)
            puts(seconds=3)
            quiet = puts()
            line("quiet", quiet)
            quiet = quiet["latency"]

            count = 1_000_000 // scale
            revision = int(call("/v3/kv/range", key="YQ==")["header"]["revision"])
            # Every operation of a transaction is a version of a key: its revision and a number.
            generate("txn-put", f"--total={count // 100}", "--txn-ops=100", "--clients=64",
                     "--connections=8", "--key-space-size=10000", "--val-size=64")
            time.sleep(2)
            last = int(call("/v3/kv/range", key="YQ==")["header"]["revision"])
            load = subprocess.Popen(
                ["sleep", "1"])
            load.wait()
            compact = subprocess.Popen(
                [sys.executable, "-c", "import sys, time, urllib.request; time.sleep(2); "
                 "began = time.monotonic(); urllib.request.urlopen(urllib.request.Request(sys.argv[1], "
                 "data=sys.argv[2].encode()), timeout=180).read(); "
                 "print(f'{time.monotonic() - began:.1f}')",
                 client + "/v3/kv/compaction", json.dumps({"revision": last, "physical": True})],
                stdout=subprocess.PIPE, text=True)
            line(f"compaction of {count} versions", puts(), quiet)
            took = compact.communicate(timeout=200)[0].strip()
            print(f"{'':32} (revisions {revision} to {last}, compacted in {took} s)")

            watchers = 10_000 // scale
            catching = subprocess.Popen(
                [*bench, "watch-get", f"--endpoints=127.0.0.1:{port}", f"--total={watchers}",
                 f"--clients={watchers}", "--connections=8", "--events=100"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            line(f"{watchers} watchers catch up", puts(), quiet)
            told = [row.strip() for row in catching.communicate(timeout=200)[0].splitlines()]
            print(f"{'':32} ({next((row for row in told if row.startswith('operations')), told)})")

            leases = 100_000 // scale
            began = time.monotonic()
            generate("lease-grant", f"--total={leases}", f"--ttl={TTL}", "--clients=256",
                     "--connections=8")
            granted = time.monotonic() - began
            time.sleep(max(0.0, TTL - granted - 1))
            line(f"{leases} leases expire", puts(seconds=SECONDS + 10), quiet)
            left = len(call("/v3/lease/leases").get("leases", []))
            print(f"{'':32} (granted in {granted:.1f} s; {left} are left)")
        finally:
            member.kill()
            member.wait()


main()
