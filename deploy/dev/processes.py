"""Starting, recognising and stopping background processes.

A process is known by a record (a plain dictionary that lives in the state file): its id, the moment it started
and a marker. Promise: a signal goes only to a process that all three still fit. Never: trusts a bare process id,
which the system hands to strangers after a crash.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

from machine import output, say

STOP_QUICKLY = [["TERM", 10], ["KILL", 5]]
# What a process may still be at after the first signal has this long, and the user hears of it this often.
FINISH_S = 600
WORD_S = 5


def start(command, log, marker, cwd, env=None, stop=None, **options):
    """Starts a process that outlives this program; the marker is a text its command line or its folder contains."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as sink:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd=str(cwd),
            env=env,
            start_new_session=True,
            **options,
        )
    return {
        "pid": child.pid,
        "started": started(child.pid),
        "marker": str(marker),
        "log": str(log),
        "stop": stop or STOP_QUICKLY,
    }


def started(pid):
    """When a living process began, as the system tells it (unit and origin vary: compare only); None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return output(["ps", "-o", "lstart=", "-p", pid]) or None if not Path("/proc/self/stat").exists() else None
    return None if fields[0] in "ZX" else int(fields[19])


def fingerprint(pid):
    """What a process can be recognised by: its command line and its working folder."""
    folder = Path(f"/proc/{pid}")
    try:
        words = folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return output(["ps", "-o", "command=", "-p", pid]) or ""
    try:
        return words + "\n" + os.readlink(folder / "cwd")
    except OSError:
        return words


def alive(record):
    """Whether the process that this record describes still runs, and not a stranger under its id."""
    now = started(record["pid"])
    return now is not None and now == record["started"] and record["marker"] in fingerprint(record["pid"])


def stop(record, finishing=None):
    """Ends the process with ever stronger signals; False when it was gone already.

    While `finishing` names something that must not be cut short, no signal follows the first, for ten minutes at most.
    """
    if not alive(record):
        return False
    for name, seconds in record["stop"]:
        try:
            os.kill(record["pid"], getattr(signal, "SIG" + name))
        except ProcessLookupError:
            return True
        if wait_gone(record, seconds) if finishing is None else wait_finished(record, seconds, finishing):
            return True
        finishing = None
    return True


def wait_finished(record, seconds, finishing):
    """Waits this long, and longer while something is being finished; says what takes so long."""
    begun = time.monotonic()
    while not wait_gone(record, min(seconds, WORD_S)):
        waited, what = time.monotonic() - begun, finishing()
        if waited >= (FINISH_S if what else seconds):
            return False
        say(f"waiting for process {record['pid']} to end, {waited:.0f} s so far" + (f": {what}" if what else ""))
    return True


def wait_gone(record, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reap(record["pid"])
        if not alive(record):
            return True
        time.sleep(0.05)
    return False


def reap(pid):
    """Collects an ended child, so that it does not linger as a zombie; a process that is not our child is left alone."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        pass


def strays(folder, names):
    """Records of processes that work in this folder: what a crash before the state was written leaves behind."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            comm = entry.joinpath("comm").read_text().strip()
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue
        begun = started(int(entry.name))
        if cwd == str(folder) and comm in names and begun is not None:
            found.append({"pid": int(entry.name), "started": begun, "marker": str(folder), "stop": STOP_QUICKLY})
    return found
