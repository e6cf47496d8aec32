#!/usr/bin/env python3
"""Holds the dependencies to `deny.toml`: licences, bans and sources always, advisories when their database can be had.

Promise: a check that could not be made is said so in plain words. Never: passes over a finding.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from machine import DEFAULT_DIR, ROOT, dotted, output, say, version_of

WANTED = "0.20.2"
OLDEST = (0, 18, 0)
FETCH_TIMEOUT_S = 60


def tool(folder):
    """The path of a cargo-deny that understands our policy: one that is installed, else one built for `.dev`."""
    own = folder / "tools" / "bin" / "cargo-deny"
    for path in (shutil.which("cargo-deny"), own):
        if path and version_of(output([path, "--version"])) >= OLDEST:
            return path
    say(f"no cargo-deny {dotted(OLDEST)} or later on PATH: building {WANTED} once, in {own.parent} (some minutes) …")
    build = folder / "tools" / "build"
    # Compiled for a short build: it runs for seconds.
    quick = {
        "CARGO_TARGET_DIR": str(build),
        "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
        "CARGO_PROFILE_RELEASE_LTO": "off",
        "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    }
    words = ["cargo", "install", "cargo-deny", "--version", WANTED, "--locked", "--quiet", "--root", str(folder / "tools")]
    done = subprocess.run(words, env={**os.environ, **quick}, check=False)
    shutil.rmtree(build, ignore_errors=True)
    if done.returncode != 0:
        sys.exit(f"error: cargo-deny could not be built; install {dotted(OLDEST)} or later yourself: `cargo install cargo-deny --locked`")
    return own


def check(path, *words):
    """Runs one check and shows what it finds."""
    return subprocess.run([str(path), "--locked", *words], cwd=ROOT, check=False).returncode


def advisories(path):
    """The known vulnerabilities; fetched fresh, else from the copy on this machine, else skipped aloud."""
    if output([path, "--locked", "fetch", "db"], timeout=FETCH_TIMEOUT_S, cwd=ROOT) is not None:
        return check(path, "check", "--disable-fetch", "--hide-inclusion-graph", "advisories")
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    if any(home.glob("advisory-dbs/*/crates")):
        say("ADVISORIES: the database could not be refreshed; checking against the copy on this machine, which may be old")
        return check(path, "check", "--disable-fetch", "--hide-inclusion-graph", "advisories")
    say("ADVISORIES SKIPPED: their database could not be fetched from github.com, and there is no copy on this machine")
    return 0


def main():
    path = tool(DEFAULT_DIR)
    findings = check(path, "check", "--hide-inclusion-graph", "bans", "licenses", "sources")
    sys.exit(advisories(path) or findings)


if __name__ == "__main__":
    main()
