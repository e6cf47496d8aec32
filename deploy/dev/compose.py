"""Servers in Docker: the project's own compose file, with ports opened on this machine for development.

Promise: used only when an engine answers within three seconds; one that cannot start the servers (no images, no
network) is reported and the next choice is tried. Never: builds or starts the service's own containers.
"""

import functools
import os
import shutil
from urllib.parse import quote

from machine import ROOT, Trouble, checked, output, say, short_name

SERVICES = {"dragonfly": 6379, "postgres": 5432}


@functools.lru_cache(maxsize=None)
def available():
    if not shutil.which("docker"):
        return False
    if output(["docker", "info"], timeout=3) is None:
        return False
    if output(["docker", "compose", "version"], timeout=10) is None:
        say("Docker answers, but has no compose plugin; using servers on this machine instead")
        return False
    return True


def command(folder, *words):
    files = ["-f", ROOT / "docker-compose.yml", "-f", ROOT / "deploy" / "dev" / "compose.ports.yml"]
    return ["docker", "compose", "-p", short_name(folder), *files, *words]


def bring_up(state, service, variable):
    """Starts one service; gives its record, or None when Docker cannot provide it."""
    password = os.environ.get("POSTGRES_PASSWORD") or "tripsage"
    say(f"starting {service} by Docker compose (the first time downloads its image) …")
    try:
        # Said here, so that a password in `.env` cannot differ from the one in the address below.
        known = {**os.environ, "POSTGRES_PASSWORD": password}
        checked(command(state.folder, "up", "-d", "--wait", service), state.folder / "log" / "compose.log", env=known)
    except Trouble as error:
        say(f"Docker could not start {service}, trying the next choice: {error}")
        stop(state, {"compose": service})
        return None
    address = output(command(state.folder, "port", service, SERVICES[service]))
    if not address:
        return None
    port = address.rpartition(":")[2]
    url = f"redis://127.0.0.1:{port}/0" if service == "dragonfly" else f"postgres://tripsage:{quote(password, safe='')}@127.0.0.1:{port}/tripsage"
    image = output(command(state.folder, "images", "-q", service)) or "image"
    record = {"compose": service, "env": variable, "url": url, "choice": f"{service} container {image[:12]}", "why": "Docker answers"}
    state.put(service, record)
    return record


def runs(state, record):
    return available() and bool(output(command(state.folder, "ps", "--quiet", "--status", "running", record["compose"])))


def stop(state, record):
    output(command(state.folder, "rm", "--stop", "--force", record["compose"]), timeout=60)


def forget(state):
    """Removes the containers and their volumes: part of `clean`."""
    if available():
        output(command(state.folder, "down", "--volumes"), timeout=60)
