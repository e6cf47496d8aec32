"""What the other modules ask of this machine: words to the user, quick commands, ports, packages, an unprivileged user.

Promise: everything said goes to standard error, so that a command's own output stays clean.
Never: touches a package or a service that was there before.
"""

import hashlib
import os
import pwd
import random
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent
DEFAULT_DIR = ROOT / ".dev"


class Trouble(Exception):
    """A failure the user can act on: its text says what was wrong and what to do."""


def say(text):
    print("· " + text, file=sys.stderr, flush=True)


def output(command, timeout=30, **options):
    """The command's standard output, or None when it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
            **options,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def checked(command, log, **options):
    """Runs a command whose output belongs in the log; its last lines become the error when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(done.stdout)
    if done.returncode != 0:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-8:])
        raise Trouble(f"`{Path(str(command[0])).name}` failed (whole output in {log}):\n    {tail}")


def version_of(text):
    """The first dotted number in a text as a tuple: `(0, 8, 5)`; empty when there is none."""
    found = re.search(r"\d+(?:\.\d+)+", text or "")
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def dotted(version):
    return ".".join(str(part) for part in version)


def free_port():
    """A port nobody listens on now, below the range that the system deals to outgoing connections.

    It leaves room for a cluster's second port, 10,000 above it.
    """
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Trouble("no free port between 20000 and 32000: see what listens there with `ss -ltnp`")


def server_parts(variable, url):
    """The parts of a server's URL. The error shows none of the text: what looks like a port may be a part of a password."""
    try:
        parts = urlsplit(url)
        parts.port  # read here: a port that is no number is noticed only then
    except ValueError:
        parts = None
    if parts is None or "@" in parts.path + parts.query + parts.fragment:
        raise Trouble(
            f"{variable} is not a server's URL; a password in it must be percent-encoded: "
            "@ is %40, / is %2F, : is %3A, # is %23, ? is %3F"
        )
    return parts


def tail(path, lines=12):
    """The last lines of a log, indented for an error message."""
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join("    " + line for line in text.strip().splitlines()[-lines:])


def short_name(folder):
    """A name for this checkout that stays the same: what lies outside it is filed under this."""
    return "tripsage-dev-" + hashlib.sha256(str(Path(folder).resolve()).encode()).hexdigest()[:8]


def root_command():
    """The words before a command that needs root; None when this user cannot become root."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and output(["sudo", "-n", "true"], timeout=5) is not None:
        return ["sudo", "-n"]
    return None


def apt_install(package, log):
    """Installs one package with the system's package manager; False when that is not possible here."""
    become = root_command()
    if become is None or not shutil.which("apt-get"):
        return False
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = become + ["apt-get", "install", "-y", "--no-install-recommends", package]
    say(f"installing the package {package} (apt-get) …")
    try:
        checked(command, log, env=quiet)
    except Trouble:
        say("  refreshing the package lists first …")
        checked(become + ["apt-get", "update"], log, env=quiet)
        checked(command, log, env=quiet)
    return True


def stop_service(name):
    """Stops the service that Debian starts on its own after an installation."""
    become = root_command() or []
    for command in (["systemctl", "disable", "--now", name], ["service", name, "stop"]):
        if shutil.which(command[0]) and output(become + command, timeout=30) is not None:
            return


class Account:
    """The user that Postgres runs as. Postgres refuses root; everybody else runs it as himself."""

    def __init__(self, entry=None):
        self.entry = entry

    @property
    def name(self):
        return self.entry.pw_name if self.entry else None

    def options(self):
        """The options for `subprocess` that make a child run as this user."""
        if self.entry is None:
            return {}
        return {"user": self.entry.pw_uid, "group": self.entry.pw_gid, "extra_groups": []}

    def own(self, path):
        if self.entry is not None:
            os.chown(path, self.entry.pw_uid, self.entry.pw_gid)

    def can_enter(self, folder):
        test = ["/bin/sh", "-c", 'cd "$1" && test -r .', "sh", folder]
        return output(test, timeout=10, cwd="/", **self.options()) is not None

    def can_run(self, binary):
        test = ["/bin/sh", "-c", 'test -x "$1"', "sh", binary]
        return output(test, timeout=10, cwd="/", **self.options()) is not None


def unprivileged_account():
    """`postgres` where it exists, else a system user of our own, else `nobody`; this very user unless it is root."""
    if os.geteuid() != 0:
        return Account()
    for name in ("postgres", "tripsage-dev"):
        entry = user_entry(name)
        if entry:
            return Account(entry)
    if shutil.which("useradd"):
        output(["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "tripsage-dev"])
    entry = user_entry("tripsage-dev") or user_entry("nobody")
    if entry is None:
        raise Trouble("Postgres refuses to run as root and no other user exists: create one with `useradd --system tripsage-dev`")
    return Account(entry)


def user_entry(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
