"""The memory between two calls: `.dev/servers.json`, and the lock that lets one call at a time change it.

`servers` maps a name to its record. `kept` in a record means: `up` asked for it, so it stays until `down`.
`holders` are the living `run`s: the last one to leave stops what was not kept.
Promise: a torn or foreign file never stops the door from opening; it is set aside and said so.
"""

import contextlib
import fcntl
import json
import os
import shutil
from pathlib import Path

import processes
from machine import Trouble, say

VERSION = 1


class State:
    """What runs, and who needs it."""

    def __init__(self, folder, servers=None, holders=None):
        self.folder = Path(folder)
        self.servers = servers or {}
        self.holders = holders or []

    @property
    def path(self):
        return self.folder / "servers.json"

    def save(self):
        body = {"version": VERSION, "servers": self.servers, "holders": self.holders}
        draft = self.path.with_suffix(".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(body, file, indent=1)
        draft.replace(self.path)

    def put(self, name, record):
        self.servers[name] = record
        self.save()

    def drop(self, name):
        self.servers.pop(name, None)
        self.save()

    def hold(self):
        me = os.getpid()
        self.holders.append({"pid": me, "started": processes.started(me), "marker": ""})
        self.save()

    def release(self):
        """Leaves; gives the names of the servers that nobody needs any more."""
        self.holders = [holder for holder in self.holders if holder["pid"] != os.getpid() and processes.alive(holder)]
        self.save()
        return [] if self.holders else [name for name, record in self.servers.items() if not record.get("kept")]

    def environment(self):
        """The addresses of everything that runs, under the names the service reads them by."""
        return {record["env"]: record["url"] for record in self.servers.values() if record.get("env")}


def load(folder):
    folder = Path(folder)
    try:
        body = json.loads((folder / "servers.json").read_text())
        if body["version"] != VERSION:
            raise ValueError(f"version {body['version']}")
        return State(folder, dict(body["servers"]), list(body["holders"]))
    except FileNotFoundError:
        return State(folder)
    except (ValueError, KeyError, TypeError) as error:
        aside = folder / "servers.json.unreadable"
        shutil.move(str(folder / "servers.json"), str(aside))
        say(f"the state file could not be read ({error}); it was moved to {aside}")
        return State(folder)


@contextlib.contextmanager
def locked(folder):
    """The state, with no other call of this program at work on the same folder."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / "lock", "w")
    except OSError as error:
        raise Trouble(f"cannot write in {folder} ({error.strerror}): choose another folder with --dir") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another call is bringing servers up or down; waiting for it …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield load(folder)
