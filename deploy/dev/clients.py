#!/usr/bin/env python3
"""Installs what the README's examples in Python and TypeScript need, for the tests that run them.

Usage: python3 deploy/dev/clients.py [--dir .dev]      prints {"python": …, "node": … or null} as the last line.
Promise: everything lies under the folder; nothing is installed into the user's Python or Node.js.
Never: fails for want of Node.js: the example is read then, not run, and that is said.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from machine import DEFAULT_DIR, Trouble, apt_install, checked, output, say

WHEELS = ["redis==8.1.0", "msgpack==1.2.4", "psycopg[binary]==3.3.9"]
PACKAGES = ["redis@5.12.1", "@msgpack/msgpack@3.1.3"]


def python(folder):
    """An interpreter that has the wheels."""
    venv = folder / "venv"
    program = venv / "bin" / "python3"
    marker = venv / "installed"
    if marker.exists() and marker.read_text() == "\n".join(WHEELS) and output([program, "-c", "import redis, msgpack, psycopg"]) is not None:
        return program
    shutil.rmtree(venv, ignore_errors=True)
    log = folder / "packages.log"
    if output([sys.executable, "-m", "venv", venv], timeout=120) is None:
        shutil.rmtree(venv, ignore_errors=True)
        if not apt_install("python3-venv", log) or output([sys.executable, "-m", "venv", venv], timeout=120) is None:
            raise Trouble("`python3 -m venv` does not work here: install it with `sudo apt-get install python3-venv`")
    checked([program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *WHEELS], log)
    marker.write_text("\n".join(WHEELS))
    return program


def node(folder):
    """A folder whose node_modules has the packages; None where there is no Node.js."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        say("no Node.js on this machine: the TypeScript example is read by the tests, not run")
        return None
    folder = folder / "node"
    marker = folder / "installed"
    if marker.exists() and marker.read_text() == "\n".join(PACKAGES):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    words = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", folder]
    try:
        checked(words + PACKAGES, folder / "packages.log")
    except Trouble as error:
        say(f"the TypeScript example is read by the tests, not run: {error}")
        return None
    marker.write_text("\n".join(PACKAGES))
    return folder


def main():
    parser = argparse.ArgumentParser(description="install what the README's examples need, for the tests")
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="where development files live [.dev]")
    folder = parser.parse_args().dir.resolve() / "clients"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = {"python": str(python(folder)), "node": node(folder)}
    except Trouble as error:
        sys.exit(f"error: {error}")
    print(json.dumps(found, default=str))


if __name__ == "__main__":
    main()
