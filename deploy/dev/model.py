#!/usr/bin/env python3
"""Fetches the local embedding model that `make demo` and the tests use: WordLlama's 256-dimensional token vectors (MIT).

Usage: python3 deploy/dev/model.py [--dir .dev]       prints the model's folder.
Promise: the folder holds exactly the pinned bytes or is not there. Never: needed at run time, or imported by anything.
"""

import argparse
import hashlib
import shutil
import sys
import zipfile
from pathlib import Path

import wheels
from machine import DEFAULT_DIR, Trouble, say

REQUIREMENT = "wordllama==0.4.0.post1"
# The vectors are the same on every platform, so one wheel serves all.
PLATFORMS = ["manylinux2014_x86_64", "manylinux_2_17_x86_64"]
WHEEL_SHA256 = ["42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97"]
# name in the folder: (path in the wheel, bytes, SHA-256)
FILES = {
    "l2_supercat_256.safetensors": (
        "wordllama/weights/l2_supercat_256.safetensors",
        16384096,
        "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
    ),
    "l2_supercat_tokenizer_config.json": (
        "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
        1842796,
        "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
    ),
    "LICENSE": (
        "wordllama-0.4.0.post1.dist-info/licenses/LICENSE",
        1067,
        "a1e482c45bfab76056845e542ad4c95acfc4f38dd63be1c5b663c16065529fc8",
    ),
}


def problem(folder, files=None):
    """What is wrong with the model in this folder; None when every file is the pinned one."""
    for name, (_, size, digest) in (files or FILES).items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, expected {size}"
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return f"{name} differs from the pinned SHA-256"
    return None


def ensure(base):
    """The model's folder, fetched when it is not there or not right."""
    folder = base / "models" / "wordllama-256"
    if problem(folder) is None:
        return folder
    archive = wheels.fetch(base, REQUIREMENT, WHEEL_SHA256, PLATFORMS)
    draft = folder.with_name(folder.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with zipfile.ZipFile(archive) as wheel:
        for name, (inside, _, _) in FILES.items():
            draft.joinpath(name).write_bytes(wheel.read(inside))
    wrong = problem(draft)
    if wrong:
        raise Trouble(f"the downloaded model is not the pinned one: {wrong}")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    archive.unlink()
    say(f"embedding model: WordLlama, 256 dimensions (MIT), in {folder}")
    return folder


def main():
    parser = argparse.ArgumentParser(description="fetch the local embedding model and print its folder")
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="where development files live [.dev]")
    try:
        print(ensure(parser.parse_args().dir.resolve()))
    except Trouble as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
