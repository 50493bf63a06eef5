"""Patroni elects a leader of three PostgreSQL servers on three members, and fails over.

Usage: patroni.py SERVER etcd3|etcd [PORT]

SERVER is the command of a member, for example "oxetcd server". `etcd3` is the JSON gateway, `etcd`
the v2 API. Needs the `patroni` package of Python with this interpreter, and PostgreSQL (`PGBIN`, or
the newest below /usr/lib/postgresql). As root, PostgreSQL runs as the user `postgres`. Prints what
happens; exits non-zero when something does not happen in time.
"""

import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import psycopg2

COUNT = 3
# Patroni takes a leader for dead after this many seconds; less it does not take.
TTL = 20
# How long one step may take on a busy machine.
PATIENCE = 120
STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def wait(what, probe, patience=PATIENCE):
    end = time.monotonic() + patience
    last = None
    while time.monotonic() < end:
        try:
            found = probe()
            if found:
                return found
        except (OSError, psycopg2.Error, ValueError) as error:
            last = error
        time.sleep(0.25)
    raise SystemExit(f"not in {patience} s: {what} (last error: {last})")


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


class Rig:
    def __init__(self, server, api, port):
        self.server, self.api, self.port = server.split(), api, port
        self.dir = tempfile.mkdtemp(prefix="patroni-")
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        os.chmod(self.dir, 0o755)
        self.bin = os.environ.get("PGBIN") or sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.members, self.agents = {}, {}

    def client_port(self, n):
        return self.port + n

    def pg_port(self, n):
        return self.port + 20 + n

    def rest(self, n):
        return f"http://127.0.0.1:{self.port + 30 + n}"

    def log(self, name):
        return open(os.path.join(self.dir, f"{name}.log"), "ab")

    def start_member(self, n):
        peer = lambda n: f"http://127.0.0.1:{self.port + 10 + n}"
        client = f"http://127.0.0.1:{self.client_port(n)}"
        cluster = ",".join(f"m{n}={peer(n)}" for n in range(COUNT))
        line = self.server + [
            f"--name=m{n}", f"--data-dir={self.dir}/m{n}", f"--initial-cluster={cluster}",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer(n)}", f"--initial-advertise-peer-urls={peer(n)}",
        ]
        if self.api == "etcd":
            line.append("--enable-v2")
        with self.log(f"m{n}") as log:
            self.members[n] = subprocess.Popen(line, stdout=log, stderr=log)

    def leading_member(self):
        for n, process in self.members.items():
            if process.poll() is None:
                url = f"http://127.0.0.1:{self.client_port(n)}/v3/maintenance/status"
                request = urllib.request.Request(url, data=b"{}")
                with urllib.request.urlopen(request, timeout=5) as answer:
                    status = json.load(answer)
                if status.get("leader") == status["header"]["member_id"]:
                    return n
        return None

    def start_agent(self, n):
        hosts = [f"127.0.0.1:{self.client_port(n)}" for n in range(COUNT)]
        config = {
            "scope": "demo",
            "name": f"pg{n}",
            "restapi": {"listen": self.rest(n)[7:], "connect_address": self.rest(n)[7:]},
            self.api: {"hosts": hosts},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL, "loop_wait": 2, "retry_timeout": 5,
                    "postgresql": {"use_pg_rewind": True},
                },
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.pg_port(n)}",
                "connect_address": f"127.0.0.1:{self.pg_port(n)}",
                "data_dir": f"{self.dir}/pg{n}",
                "bin_dir": self.bin,
                "pgpass": f"{self.dir}/pgpass{n}",
                "authentication": {
                    "superuser": {"username": "postgres", "password": "p"},
                    "replication": {"username": "replicator", "password": "p"},
                    "rewind": {"username": "rewinder", "password": "p"},
                },
                "pg_hba": ["host all all 127.0.0.1/32 md5", "host replication all 127.0.0.1/32 md5"],
                "parameters": {"unix_socket_directories": self.dir, "shared_buffers": "16MB"},
            },
        }
        path = f"{self.dir}/pg{n}.yml"
        with open(path, "w") as file:
            json.dump(config, file)  # JSON is YAML
        drop = {}
        if os.geteuid() == 0:
            drop = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        with self.log(f"pg{n}") as log:
            self.agents[n] = subprocess.Popen(
                [sys.executable, "-m", "patroni", path], stdout=log, stderr=log, cwd=self.dir,
                env={**os.environ, "HOME": self.dir, "LC_ALL": "C"}, **drop)

    def postmaster(self, n):
        with open(f"{self.dir}/pg{n}/postmaster.pid") as file:
            return int(file.readline())

    def kill_database(self, n):
        """What a machine that loses power does to the agent and the server on it."""
        agent, postmaster = self.agents[n], self.postmaster(n)
        agent.kill()
        agent.wait()
        os.kill(postmaster, signal.SIGKILL)
        wait("the server is gone", lambda: not os.path.exists(f"/proc/{postmaster}"))

    def cluster(self):
        """Roles and states of those that an agent which runs knows."""
        for n, agent in self.agents.items():
            if agent.poll() is None:
                members = get(f"{self.rest(n)}/cluster")["members"]
                return {m["name"]: (m["role"], m["state"]) for m in members}
        return {}

    def leader(self, among):
        found = []
        for n in among:
            try:
                with urllib.request.urlopen(f"{self.rest(n)}/primary", timeout=5):
                    found.append(n)
            except (urllib.error.HTTPError, OSError):
                pass
        if len(found) > 1:
            raise SystemExit(f"two leaders at once: {found}")
        return found[0] if found else None

    def wait_leader(self, among):
        return wait("a leader", lambda: (self.leader(among) or 0) + 1
                    if self.leader(among) is not None else None) - 1

    def sql(self, n, text, *values):
        connection = psycopg2.connect(host="127.0.0.1", port=self.pg_port(n), user="postgres",
                                      password="p", dbname="postgres", connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text, values)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def write(self, n, value):
        self.sql(n, "insert into t values (%s)", value)
        say(f"  wrote {value!r} through pg{n}")

    def values(self, n):
        return [row[0] for row in self.sql(n, "select v from t order by v")]

    def wait_values(self, n, values):
        wait(f"pg{n} has {values}", lambda: self.values(n) == values)

    def wait_replicas(self, leader, count):
        def enough():
            streams = self.sql(leader, "select count(*) from pg_stat_replication "
                               "where state = 'streaming'")[0][0]
            return streams >= count
        wait(f"{count} replicas of pg{leader}", enough)

    def stop(self, keep):
        for agent in self.agents.values():
            if agent.poll() is None:
                agent.terminate()
        for n, agent in self.agents.items():
            try:
                agent.wait(30)
            except subprocess.TimeoutExpired:
                agent.kill()
            try:
                os.kill(self.postmaster(n), signal.SIGQUIT)
            except (OSError, ValueError):
                pass
        for process in self.members.values():
            process.kill()
            process.wait()
        if keep:
            say(f"logs are in {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def scenario(rig):
    for n in range(COUNT):
        rig.start_member(n)
    wait("a leader of the members", lambda: rig.leading_member() is not None)
    say(f"three members serve; m{rig.leading_member()} leads")
    for n in range(COUNT):
        rig.start_agent(n)
    everyone = set(range(COUNT))
    first = rig.wait_leader(everyone)
    say(f"pg{first} is the leader")
    rig.wait_replicas(first, COUNT - 1)
    rig.sql(first, "create table t (v text)")
    rig.write(first, "1 before")
    for n in everyone - {first}:
        rig.wait_values(n, ["1 before"])
    say(f"replicas follow: {rig.cluster()}")

    rig.kill_database(first)
    say(f"killed pg{first}, agent and server")
    lost = rig.leading_member()
    rig.members[lost].kill()
    rig.members[lost].wait()
    say(f"killed m{lost}, the leader of the members")
    killed = time.monotonic()
    second = rig.wait_leader(everyone - {first})
    say(f"pg{second} is the leader, {time.monotonic() - killed:.1f} s later (ttl {TTL} s)")
    wait("the new leader takes writes", lambda: rig.write(second, "2 after failover") or True)
    rig.wait_replicas(second, COUNT - 2)

    rig.start_agent(first)
    rig.start_member(lost)
    rig.wait_replicas(second, COUNT - 1)
    rig.wait_values(first, ["1 before", "2 after failover"])
    say(f"pg{first} is back, as a replica: {rig.cluster()}")

    body = json.dumps({"leader": f"pg{second}", "candidate": f"pg{first}"}).encode()
    request = urllib.request.Request(f"{rig.rest(second)}/switchover", data=body, method="POST",
                                     headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        say(f"switchover: {answer.read().decode()}")
    wait("the leader that was asked for", lambda: rig.leader(everyone) == first)
    rig.wait_replicas(first, COUNT - 1)
    rig.write(first, "3 after switchover")
    for n in everyone:
        rig.wait_values(n, ["1 before", "2 after failover", "3 after switchover"])
    say("all three have every row")


def main():
    server, api = sys.argv[1], sys.argv[2]
    if api not in ("etcd3", "etcd"):
        raise SystemExit(__doc__)
    rig = Rig(server, api, int(sys.argv[3]) if len(sys.argv) > 3 else 34100)
    say(f"Patroni over {api} on {server}")
    failed = True
    try:
        scenario(rig)
        failed = False
    finally:
        rig.stop(keep=failed)
    say("passed")


main()
