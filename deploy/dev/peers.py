#!/usr/bin/env python3
"""Installs the peers that the benchmark measures beside us, as `benches/peers/README.md` lists them.

Usage: python3 deploy/dev/peers.py [--dir .dev] [NAME …]    NAME: measures to be taken; only their peers are installed,
all when none is named. Writes {"peer_…": {"command": […], "versions": "…"} or {"skip": "why"}} into peers.json in the
folder and prints its path.
Promise: everything lies under the folder, in the versions that the lock files say.
Never: fails for want of a runtime or a package, or waits for ever for one: that peer is skipped then, and why is said.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from machine import DEFAULT_DIR, ROOT, Trouble, checked, dotted, output, say, version_of

SOURCES = ROOT / "benches" / "peers"
# As BullMQ's client says it in the lock file.
NODE = (20,)
# Some crates take minutes to build where the machine is slow or busy.
PATIENCE_S = 1200
# For every kind of installer: a registry that does not answer is given up soon.
PROMPT = {
    "CARGO_HTTP_TIMEOUT": "30",
    "CARGO_NET_RETRY": "1",
    "PIP_DEFAULT_TIMEOUT": "30",
    "PIP_RETRIES": "1",
    "npm_config_fetch_retries": "1",
    "npm_config_fetch_retry_mintimeout": "1000",
    "npm_config_fetch_timeout": "30000",
}


def install_with(name, words, log):
    """Runs an installer; its failure becomes one line that says what to do."""
    again = f"its words are in {log}; `make bench` tries again, and needs the package registry for that"
    try:
        checked(words, log, timeout=PATIENCE_S, env={**os.environ, **PROMPT})
    except subprocess.TimeoutExpired:
        raise Trouble(f"`{name}` was not done within {PATIENCE_S // 60} minutes: {again}") from None
    except Trouble as error:
        say(str(error))
        raise Trouble(f"`{name}` could not install it: {again}") from error


def installed(marker, sources, runtime):
    """Whether what these files ask for was installed already for this runtime; else the text to mark it with."""
    wanted = "\n".join([runtime, *(source.read_text() for source in sources)])
    return marker.exists() and marker.read_text() == wanted, wanted


def node(folder):
    """The folder whose node_modules has what the lock file says."""
    version, npm = (output([name, "--version"]) for name in ("node", "npm"))
    if version_of(version) < NODE or npm is None:
        has = f"this machine has node: {version or 'none'}, npm: {npm or 'none'}"
        raise Trouble(f"it needs Node.js {dotted(NODE)} or later with npm; {has}")
    folder = folder / "bullmq"
    sources = [SOURCES / "bullmq" / name for name in ("package.json", "package-lock.json", "adapter.mjs")]
    done, wanted = installed(folder / "installed", sources, version)
    if not done:
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(source, folder)
        # Not `npm ci`: it refuses a lock file that leaves out other platforms' optional packages.
        words = ["npm", "install", "--loglevel", "error", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder]
        install_with("npm", words, folder.parent / "packages.log")
        (folder / "installed").write_text(wanted)
    return folder


def bullmq(folder):
    lock = json.loads((SOURCES / "bullmq" / "package.json").read_text())["dependencies"]
    versions = ", ".join(f"{name} {version}" for name, version in lock.items())
    return {"command": ["node", node(folder) / "adapter.mjs"], "versions": f"{versions}, Node.js {output(['node', '--version'])}"}


def python(folder):
    """An interpreter that has what requirements.txt says."""
    venv = folder / "venv"
    program = venv / "bin" / "python3"
    requirements = SOURCES / "python" / "requirements.txt"
    done, wanted = installed(venv / "installed", [requirements], sys.version)
    if not done:
        shutil.rmtree(venv, ignore_errors=True)
        if output([sys.executable, "-m", "venv", venv], timeout=120) is None:
            raise Trouble("`python3 -m venv` does not work here: Debian has it in the package python3-venv")
        words = [program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements]
        install_with("pip", words, folder / "packages.log")
        (venv / "installed").write_text(wanted)
    return program


def in_python(folder, script, *names):
    program = python(folder)
    pins = dict(line.split("==") for line in (SOURCES / "python" / "requirements.txt").read_text().split())
    versions = ", ".join(f"{name} {pins[name]}" for name in names)
    return {"command": [program, SOURCES / "python" / script], "versions": f"{versions}, {output([program, '--version'])}"}


def in_rust(folder, package, crate):
    """Built here: crates come as sources."""
    if shutil.which("cargo") is None:
        raise Trouble("no cargo on this machine: it needs the one that builds the service")
    manifest = SOURCES / "rust" / "Cargo.toml"
    target = folder / "target"
    say(f"building the peer {crate}, the first time for some minutes …")
    words = ["cargo", "build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target, "--package", package]
    install_with("cargo", words, folder / "packages.log")
    lock = (SOURCES / "rust" / "Cargo.lock").read_text()
    version = lock.split(f'name = "{crate}"\nversion = "', 1)[1].split('"', 1)[0]
    return {"command": [target / "release" / package], "versions": f"{crate} {version}"}


PEERS = {
    "peer_bullmq": bullmq,
    "peer_bullmq_rust": lambda folder: in_rust(folder, "peer-bullmq", "bullmq-official"),
    "peer_taskiq": lambda folder: in_python(folder, "taskiq_peer.py", "taskiq", "taskiq-redis"),
    "peer_awa": lambda folder: in_rust(folder, "peer-awa", "awa"),
    "peer_awa_python": lambda folder: in_python(folder, "awa_peer.py", "awa-pg"),
}


def install(name, folder):
    try:
        return PEERS[name](folder)
    except (Trouble, OSError) as error:
        say(f"{name} will be skipped: {error}")
        return {"skip": str(error).splitlines()[0]}


def main():
    parser = argparse.ArgumentParser(description="install the peers that the benchmark measures beside us")
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="where development files live [.dev]")
    parser.add_argument("names", nargs="*", metavar="NAME", help="measures to be taken [all]")
    options = parser.parse_args()
    folder = options.dir.resolve() / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in PEERS if not options.names or name in options.names or "peers" in options.names]
    found = {name: install(name, folder) for name in wanted}
    listing = folder / "peers.json"
    listing.write_text(json.dumps(found, default=str, indent=2))
    print(listing)


if __name__ == "__main__":
    main()
