"""Finds or starts a Postgres with pgvector.

The first match wins: an address in the environment; Docker compose; a Postgres on this machine whose pgvector is new
enough; the pinned wheel that carries both. Promise: fsync stays on, because durability is what gets measured; the
cluster listens on this machine alone, behind a password of its own. Never: touches a cluster that was there before.
"""

import os
import secrets
import shutil
import socket
import sys
import time
from pathlib import Path

import compose
import pgvector
import processes
from machine import (
    Trouble,
    checked,
    dotted,
    free_port,
    output,
    say,
    server_parts,
    short_name,
    tail,
    unprivileged_account,
    version_of,
)

VARIABLE = "TRIPSAGE_DB_URL"
ROLE = DATABASE = "tripsage"
# A fast shutdown first, an immediate one if clients hold it up; its checkpoint takes what it takes (see `finishing`).
STOP = [["INT", 20], ["QUIT", 5], ["KILL", 5]]


def settings(data, port):
    """What differs from Postgres' defaults: sized for a development machine with two workers and a test run."""
    values = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 300,
        "shared_buffers": "256MB",
        "maintenance_work_mem": "256MB",
        "max_wal_size": "4GB",
        "fsync": "on",
        "synchronous_commit": "on",
        "dynamic_shared_memory_type": shared_memory_type(),
    }
    return ["-D", str(data)] + [word for name, value in values.items() for word in ("-c", f"{name}={value}")]


def shared_memory_type(folder="/dev/shm"):
    """Containers often have 64 MB of /dev/shm, too little for a parallel index build: files in the data folder then."""
    try:
        facts = os.statvfs(folder)
    except OSError:
        return "mmap"
    return "posix" if facts.f_frsize * facts.f_bavail >= 1 << 30 else "mmap"


def bring_up(state, environment):
    """The server's record; one from the environment is left exactly as it is."""
    url = environment.get(VARIABLE, "").strip()
    if url:
        return from_environment(url)
    if reusable(state):
        return state.servers["postgres"]
    if compose.available():
        record = compose.bring_up(state, "postgres", VARIABLE)
        if record:
            return record
    account = unprivileged_account()
    home = home_for(state.folder, account)
    bindir, why = pgvector.choose(state.folder, home, account)
    return launch(state, account, home, bindir, why)


def from_environment(url):
    """Checks that something listens there; whether it is good enough is for the service to say, which logs in."""
    parts = server_parts(VARIABLE, url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise Trouble(f"{VARIABLE} begins with `{parts.scheme}:`, expected postgres://user:password@host:port/database")
    if parts.hostname:
        try:
            socket.create_connection((parts.hostname, parts.port or 5432), timeout=3).close()
        except OSError as error:
            where = f"{parts.hostname}:{parts.port or 5432}"
            raise Trouble(
                f"{VARIABLE} is set, but nothing answers at {where} ({error}). "
                f"Start that server, or unset {VARIABLE} to have one started here"
            ) from error
    return {"env": VARIABLE, "url": url, "choice": "Postgres", "why": f"{VARIABLE} is set"}


def reusable(state):
    record = state.servers.get("postgres")
    if record is None:
        return False
    if "compose" in record:
        if compose.runs(state, record):
            return True
    elif processes.alive(record):
        if ready(Path(record["bindir"]), record["port"]):
            return True
        say("the Postgres of an earlier call does not answer; replacing it")
        stop(record)
    state.drop("postgres")
    return False


def home_for(folder, account):
    """Where data and programs live: under `.dev`, unless the user that Postgres runs as cannot get there."""
    home = folder / "postgres"
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)
    if account.can_enter(home):
        return home
    outside = outside_home(folder)
    say(f"the user {account.name} cannot reach {home}; Postgres lives in {outside} instead")
    outside.mkdir(mode=0o755, exist_ok=True)
    facts = outside.lstat()
    if outside.is_symlink() or facts.st_uid != os.geteuid():
        raise Trouble(f"{outside} belongs to somebody else: remove it, or choose a reachable folder with --dir")
    outside.chmod(0o755)
    return outside


def outside_home(folder):
    return Path("/var/tmp") / short_name(folder)


def launch(state, account, home, bindir, why):
    version = version_of(output([bindir / "postgres", "--version"], cwd="/"))
    data = home / f"data-{version[0] if version else 'unknown'}"
    password = initialised(account, home, bindir, data, state.folder / "log" / "initdb.log")
    stop_stray(data)
    port = free_port()
    say(f"starting PostgreSQL {dotted(version)} …")
    command = [bindir / "postgres"] + settings(data, port)
    log = state.folder / "log" / "postgres.log"
    record = processes.start(command, log, data, "/", clean_environment(), STOP, **account.options())
    url = f"postgres://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}"
    user = f", run by the user {account.name}" if account.name else ""
    record.update(env=VARIABLE, url=url, port=port, bindir=str(bindir), why=why + user, choice=f"PostgreSQL {dotted(version)}")
    state.put("postgres", record)
    wait_until_ready(record, bindir)
    record["choice"] += ", pgvector " + create_database(bindir, port, password)
    state.put("postgres", record)
    return record


def initialised(account, home, bindir, data, log):
    """Makes the cluster on first use; gives its password."""
    secret = home / "password"
    if data.joinpath("PG_VERSION").exists() and secret.exists():
        return secret.read_text().strip()
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    account.own(data)
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(16) + "\n")
    account.own(secret)
    say(f"making a database cluster in {data} …")
    words = ["-D", data, "-U", ROLE, f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    checked([bindir / "initdb"] + words, log, cwd="/", env=clean_environment(), **account.options())
    return secret.read_text().strip()


def stop_stray(data):
    """Stops a server on our data that no state file remembers, and clears away the lock file of a dead one."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    record = {"pid": pid, "started": processes.started(pid), "marker": str(data), "stop": STOP}
    if record["started"] is not None and processes.alive(record):
        say(f"stopping a Postgres (process {pid}) that an earlier call left behind")
        stop(record)
    # The children of a killed server go by themselves; the lock file may go only after the last of them.
    for child in processes.strays(data, ["postgres"]):
        processes.wait_gone(child, 5) or processes.stop(child)
    if Path("/proc/self").exists() and not processes.strays(data, ["postgres"]):
        lock.unlink(missing_ok=True)


def stop(record):
    """Ends it so that the next start has nothing to recover; False when it was gone already."""
    data = Path(record["marker"])
    return processes.stop(record, lambda: finishing(data))


def finishing(data):
    """What a server on this data is at when its last client is gone: it makes durable what the run has written.

    A test run leaves tens of thousands of files to sync, a minute's work and more. Cut short, the next start would do
    it again from the log. The state is a C enum behind eight and two times four bytes (`ControlFileData`,
    src/include/catalog/pg_control.h): 3 at the shutdown checkpoint, 1 after it.
    """
    try:
        with open(data / "global" / "pg_control", "rb") as file:
            state = file.read(20)[16:]
    except OSError:
        return None
    at_checkpoint = int.from_bytes(state, sys.byteorder) in (1, 3)
    return "Postgres writes its last checkpoint" if at_checkpoint else None


def clean_environment():
    """The environment without PG* variables, which would point the programs elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "HOME": "/"}


def ready(bindir, port):
    return output([bindir / "pg_isready", "-q", "-h", "127.0.0.1", "-p", port], timeout=5) is not None


# After a stop that was cut short it first reads again what a whole run of the tests has written.
def wait_until_ready(record, bindir, seconds=300):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready(bindir, record["port"]):
            return
        processes.reap(record["pid"])
        if not processes.alive(record):
            break
        time.sleep(0.05)
    stop(record)
    raise Trouble(f"Postgres did not start; the end of {record['log']}:\n{tail(record['log'])}")


def create_database(bindir, port, password):
    """Makes the database and the extension when missing; gives pgvector's version."""
    psql = [bindir / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", port, "-U", ROLE]
    options = {"env": {**clean_environment(), "PGPASSWORD": password}, "cwd": "/"}
    if output(psql + ["-d", "postgres", "-c", f"select 1 from pg_database where datname = '{DATABASE}'"], **options) != "1":
        checked(psql + ["-d", "postgres", "-c", f"create database {DATABASE}"], Path(os.devnull), **options)
    for statement in ("create extension if not exists vector", "alter extension vector update"):
        checked(psql + ["-d", DATABASE, "-c", statement], Path(os.devnull), **options)
    found = output(psql + ["-d", DATABASE, "-c", "select extversion from pg_extension where extname = 'vector'"], **options)
    if not pgvector.good_enough(version_of(found)):
        raise Trouble(f"pgvector is {found}, expected {dotted(pgvector.OLDEST_PGVECTOR)} or later")
    return found
