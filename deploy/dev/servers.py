#!/usr/bin/env python3
"""Brings up what the service needs on this machine: a Dragonfly-protocol server and a Postgres with pgvector.

    servers.py up                   start or reuse both; they stay until `down`
    servers.py run -- CMD …         start what is missing, run CMD with the addresses in its environment, stop that again
    servers.py spawn NAME -- CMD …  leave CMD running in the background too (`{port}` becomes a free port)
    servers.py status | env | down | clean

Promise: says which servers were chosen and why; a second call reuses them; leftovers of a crash are found.
Never: stops a process it did not start. Needs Python 3.9 or later and nothing else.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import compose
import dragonfly
import foreground
import postgres
import processes
import state as states
from machine import DEFAULT_DIR, Trouble, free_port, say, tail

# A worker finishes what it has begun before it leaves; its own deadline is shorter than this.
WORKER_STOP = [["TERM", 60], ["KILL", 5]]


def bring_up(state, options, kept):
    """Everything that is missing, in order; gives the records, whoever they belong to."""
    records = {"dragonfly": dragonfly.bring_up(state, os.environ), "postgres": postgres.bring_up(state, os.environ)}
    if getattr(options, "redis_cluster", False):
        records["cluster"] = dragonfly.bring_up_cluster(state, os.environ)
    for name, record in records.items():
        if kept and name in state.servers:
            record["kept"] = True
            state.put(name, record)
    return records


def announce(records):
    for name, record in records.items():
        say(f"{name}: {record['choice']} at {masked(record['url'])} ({record['why']})")


def masked(url):
    """The address without its password."""
    return re.sub(r"://([^:/@\s]*):\S*@", r"://\1:***@", url)


def addresses(records):
    return {record["env"]: record["url"] for record in records.values()}


def up(options):
    with states.locked(options.dir) as state:
        records = bring_up(state, options, kept=True)
    announce(records)
    if options.json:
        print(json.dumps(addresses(records)))
    return 0


def run(options):
    """Runs the command between bring-up and take-down; its exit code is ours."""
    signal.signal(signal.SIGTERM, foreground.interrupt)
    signal.signal(signal.SIGHUP, foreground.interrupt)
    try:
        with states.locked(options.dir) as state:
            state.hold()
            records = bring_up(state, options, kept=False)
        announce(records)
        return foreground.run(options.command, {**os.environ, **addresses(records)})
    except foreground.Interrupted as stopped:
        return 128 + stopped.number
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        # From here on nothing may cut the take-down short.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with states.locked(options.dir) as state:
            for name in reversed(state.release()):
                stop(state, name)


def stop(state, name):
    """Stops one server or worker and forgets it; False when it had ended by itself."""
    record = state.servers[name]
    if "compose" in record:
        stopped = compose.stop(state, record)
    else:
        stopped = postgres.stop(record) if name == "postgres" else processes.stop(record)
    state.drop(name)
    return stopped is not False


def spawn(options):
    """Leaves a command running under a name; one that runs the same program already is kept."""
    with states.locked(options.dir) as state:
        program = shutil.which(options.command[0])
        if program is None:
            raise Trouble(f"`{options.command[0]}` is not there: build it first")
        build = os.stat(program).st_mtime_ns
        record = state.servers.get(options.name)
        if record and processes.alive(record) and record.get("build") == build:
            say(f"{options.name}: running already, process {record['pid']}")
            return 0
        if record:
            stop(state, options.name)
        servers = bring_up(state, options, kept=True)
        port = free_port()
        words = [word.replace("{port}", str(port)) for word in options.command]
        log = state.folder / "log" / f"{options.name}.log"
        environment = {**os.environ, **addresses(servers)}
        record = processes.start(words, log, words[0], Path.cwd(), environment, WORKER_STOP)
        state.put(options.name, {**record, "build": build, "kept": True, "choice": Path(words[0]).name, "port": port})
    wait_for_port(record, port)
    say(f"{options.name}: process {record['pid']} at http://127.0.0.1:{port}, log in {log}")
    return 0


def wait_for_port(record, port, seconds=30):
    """Waits until the process listens; one that ends at once is an error, shown with its own words."""
    for _ in range(seconds * 20):
        processes.reap(record["pid"])
        if not processes.alive(record):
            raise Trouble(f"it ended at once; its last words, from {record['log']}:\n{tail(record['log'])}")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Trouble(f"it does not listen on port {port} after {seconds} s; see {record['log']}")


def down(options):
    """Stops everything, the workers before the servers that they use."""
    with states.locked(options.dir) as state:
        for name in reversed(list(state.servers)):
            choice = state.servers[name]["choice"]
            say(f"{name}: {choice} " + ("stopped" if stop(state, name) else "had ended already"))
        sweep(state)
    return 0


def sweep(state):
    """Stops what runs on our folders though no state file remembers it."""
    for role in ("dragonfly", "cluster"):
        for stray in processes.strays(state.folder / role, dragonfly.BINARIES):
            say(f"{role}: stopping process {stray['pid']} that an earlier call left behind")
            processes.stop(stray)
    for home in (state.folder / "postgres", postgres.outside_home(state.folder)):
        for data in home.glob("data-*"):
            postgres.stop_stray(data)


def status(options):
    """Says what runs; exits 1 when something that should run does not."""
    state = states.load(options.dir)
    report = {}
    for name, record in state.servers.items():
        runs = compose.runs(state, record) if "compose" in record else processes.alive(record)
        report[name] = {"runs": runs, "choice": record["choice"], "pid": record.get("pid"), "url": masked(record.get("url", ""))}
        say(f"{name}: {record['choice']} " + ("runs " if runs else "is gone ") + report[name]["url"])
    if not report:
        say("nothing runs")
    if options.json:
        print(json.dumps(report))
    return 0 if all(entry["runs"] for entry in report.values()) else 1


def env(options):
    """Prints the addresses as shell lines: `eval "$(python3 deploy/dev/servers.py env)"`."""
    for name, value in states.load(options.dir).environment().items():
        print(f"export {name}='{value}'")
    return 0


def clean(options):
    """Stops everything and removes all that was ever put on this machine."""
    down(options)
    compose.forget(states.load(options.dir))
    for folder in (options.dir, postgres.outside_home(options.dir)):
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def parser():
    outer = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = outer.add_subparsers(dest="verb", required=True)
    for action in (up, down, status, run, spawn, env, clean):
        verb = verbs.add_parser(action.__name__, help=action.__doc__)
        verb.set_defaults(action=action)
        verb.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="where state, data and logs live [.dev]")
        if action in (up, status):
            verb.add_argument("--json", action="store_true", help="one JSON object on standard output")
        if action in (up, run):
            verb.add_argument("--redis-cluster", action="store_true", help="also a one-node cluster, in TRIPSAGE_TEST_CLUSTER_URL")
        if action is spawn:
            verb.add_argument("name")
        if action in (run, spawn):
            verb.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD …")
    return outer


def main():
    options = parser().parse_args()
    options.dir = options.dir.resolve()
    if hasattr(options, "command"):
        options.command = options.command[1:] if options.command[:1] == ["--"] else options.command
        if not options.command:
            sys.exit(f"error: which command? servers.py {options.verb} … -- CMD")
    try:
        sys.exit(options.action(options))
    except Trouble as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
