"""Finds or starts a server that speaks Dragonfly's protocol, and a one-node cluster for the tests that want one.

The first match wins: an address in the environment; Docker compose; `dragonfly`, `valkey-server`, `redis-server`
on PATH; `redis-server` installed by the system's package manager. Promise: data is never written to disk by a
server started here, and it listens on this machine alone. Never: stops or reuses a server it did not start.
"""

import os
import shutil
import time

import compose
import processes
import resp
from machine import Trouble, apt_install, free_port, say, stop_service, tail

VARIABLE = "TRIPSAGE_DRAGONFLY_URL"
ADDRESSES = (VARIABLE, "DRAGONFLY_URL", "REDIS_URL")
CLUSTER_VARIABLE = "TRIPSAGE_TEST_CLUSTER_URL"
BINARIES = ("dragonfly", "valkey-server", "redis-server")
CLUSTER_BINARIES = ("valkey-server", "redis-server")


def given(environment):
    """The first address that the environment gives: its variable and value."""
    for name in ADDRESSES:
        if environment.get(name, "").strip():
            return name, environment[name].strip()
    return None


def on_path(names, which=shutil.which):
    """The first of these programs that is installed: its name and path."""
    for name in names:
        path = which(name)
        if path:
            return name, path
    return None


def arguments(name, port, folder, cluster=False):
    """The command line of a development server: nothing on disk, this machine only."""
    if name == "dragonfly":
        threads = max(2, min(4, os.cpu_count() or 2))
        flags = ["--cluster_mode=emulated", "--lock_on_hashtags", f"--proactor_threads={threads}", "--bind=127.0.0.1"]
        return flags + [f"--port={port}", "--dbfilename=", f"--dir={folder}", "--logtostderr", "--version_check=false"]
    flags = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    return flags + (["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"] if cluster else [])


def bring_up(state, environment):
    """The server's record; one from the environment is checked but never put into the state."""
    found = given(environment)
    if found:
        return from_environment(*found)
    if reusable(state, "dragonfly"):
        return state.servers["dragonfly"]
    if compose.available():
        record = compose.bring_up(state, "dragonfly", VARIABLE)
        if record:
            return record
    name, path, why = binary(state, BINARIES)
    return launch(state, "dragonfly", name, path, why, VARIABLE)


def bring_up_cluster(state, environment):
    """A one-node cluster that owns all slots, so that commands across hash tags are refused."""
    url = environment.get(CLUSTER_VARIABLE, "").strip()
    if url:
        return {"env": CLUSTER_VARIABLE, "url": url, "choice": resp.identity(url), "why": f"{CLUSTER_VARIABLE} is set"}
    if reusable(state, "cluster"):
        return state.servers["cluster"]
    name, path, why = binary(state, CLUSTER_BINARIES)
    record = launch(state, "cluster", name, path, why, CLUSTER_VARIABLE)
    own_all_slots(record["url"])
    return record


def from_environment(name, url):
    try:
        choice = resp.identity(url)
    except Trouble as error:
        raise Trouble(f"{name} is set, but {error}. Start that server, or unset {name} to have one started here") from error
    return {"env": VARIABLE, "url": url, "choice": choice, "why": f"{name} is set"}


def reusable(state, name):
    """Whether our server of this name still answers; one that hangs is stopped and forgotten."""
    record = state.servers.get(name)
    if record is None:
        return False
    if compose.runs(state, record) if "compose" in record else processes.alive(record):
        if resp.answers(record["url"]):
            return True
        say(f"the {name} server of an earlier call does not answer; replacing it")
        compose.stop(state, record) if "compose" in record else processes.stop(record)
    state.drop(name)
    return False


def binary(state, names):
    """A program to start: its name, path and the reason it was chosen."""
    found = on_path(names)
    if found:
        return (*found, "the first of " + ", ".join(names) + " on PATH")
    if apt_install("redis-server", state.folder / "log" / "packages.log"):
        stop_service("redis-server")
        path = shutil.which("redis-server") or "/usr/bin/redis-server"
        return "redis-server", path, "installed just now; none was on PATH"
    raise Trouble(
        "no Dragonfly, Valkey or Redis server was found, and none can be installed without root. Do one of these:\n"
        f"    set {VARIABLE} to a running server's address, start Docker,\n"
        "    or install one: `sudo apt-get install redis-server`, `brew install valkey`"
    )


def launch(state, role, name, path, why, variable):
    folder = state.folder / role
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("nodes.conf").unlink(missing_ok=True)
    for stray in processes.strays(folder, BINARIES):
        say(f"stopping {name} (process {stray['pid']}) that an earlier call left behind")
        processes.stop(stray)
    port = free_port()
    command = [path] + arguments(name, port, folder, cluster=role == "cluster")
    record = processes.start(command, state.folder / "log" / f"{role}.log", folder, folder)
    record.update(env=variable, url=f"redis://127.0.0.1:{port}/0", why=why, choice=name)
    state.put(role, record)
    wait_until_it_answers(record, name)
    record["choice"] = resp.identity(record["url"])
    state.put(role, record)
    return record


def wait_until_it_answers(record, name, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if resp.answers(record["url"]):
            return
        processes.reap(record["pid"])
        if not processes.alive(record):
            break
        time.sleep(0.05)
    processes.stop(record)
    raise Trouble(f"{name} did not start; the end of {record['log']}:\n{tail(record['log'])}")


def own_all_slots(url, seconds=20):
    end = time.monotonic() + seconds
    with resp.Connection(url) as server:
        if "cluster_slots_assigned:16384" not in server.ask("CLUSTER", "INFO"):
            server.ask("CLUSTER", "ADDSLOTS", *range(16384))
        while "cluster_state:ok" not in server.ask("CLUSTER", "INFO"):
            if time.monotonic() > end:
                raise Trouble("the one-node cluster did not reach cluster_state:ok")
            time.sleep(0.05)
