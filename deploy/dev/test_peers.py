"""The peers' installer: what is missing is skipped and said, what is there is not fetched again, versions are the locks'."""

import contextlib
import io
import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import peers
from machine import Trouble


class Peers(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def listing(self, *names):
        words = ["peers.py", "--dir", str(self.folder), *names]
        with mock.patch("sys.argv", words), contextlib.redirect_stdout(io.StringIO()) as said:
            peers.main()
        return json.loads(Path(said.getvalue().strip()).read_text())

    def test_a_missing_runtime_skips_its_peers_and_that_is_said(self):
        with (
            mock.patch("shutil.which", return_value=None),
            mock.patch("peers.output", return_value=None),
            mock.patch("sys.stderr", io.StringIO()) as said,
        ):
            found = {name: peer["skip"] for name, peer in self.listing().items()}
        self.assertEqual(found["peer_bullmq"], "it needs Node.js 20 or later with npm; this machine has node: none, npm: none")
        self.assertIn("no cargo", found["peer_awa"])
        self.assertIn("python3-venv", found["peer_taskiq"])
        for name in found:
            self.assertIn(f"{name} will be skipped", said.getvalue())

    def test_a_runtime_that_is_too_old_is_none(self):
        with mock.patch("peers.output", return_value="v18.19.1"), mock.patch("sys.stderr", io.StringIO()):
            self.assertIn("has node: v18.19.1", self.listing("peer_bullmq")["peer_bullmq"]["skip"])

    def test_packages_that_cannot_be_fetched_do_not_stop_the_benchmark(self):
        with (
            mock.patch("peers.output", return_value="20.1.0"),
            mock.patch("peers.checked", side_effect=Trouble("no network\n    its last words")),
            mock.patch("sys.stderr", io.StringIO()) as said,
        ):
            skipped = self.listing("peer_bullmq")["peer_bullmq"]["skip"]
        self.assertIn("`npm` could not install it", skipped)
        self.assertIn("its last words", said.getvalue())

    def test_a_registry_that_never_answers_is_given_up(self):
        late = subprocess.TimeoutExpired("npm", 1200)
        with (
            mock.patch("peers.output", return_value="20.1.0"),
            mock.patch("peers.checked", side_effect=late),
            mock.patch("sys.stderr", io.StringIO()),
        ):
            self.assertIn("not done within 20 minutes", self.listing("peer_bullmq")["peer_bullmq"]["skip"])

    def test_what_is_there_is_not_fetched_again(self):
        with mock.patch("peers.output", return_value="20.1.0"), mock.patch("peers.checked") as fetch:
            first = peers.bullmq(self.folder)
            self.assertEqual(peers.bullmq(self.folder), first)
        fetch.assert_called_once()

    def test_only_the_peers_of_the_named_measures_are_installed(self):
        with mock.patch.dict(peers.PEERS, {name: lambda folder: {"command": []} for name in peers.PEERS}):
            self.assertEqual(self.listing("drain"), {})
            self.assertEqual(list(self.listing("drain", "peer_awa")), ["peer_awa"])
            self.assertEqual(list(self.listing("peers")), list(peers.PEERS))
            self.assertEqual(list(self.listing()), list(peers.PEERS))

    def test_every_package_is_pinned(self):
        requirements = (peers.SOURCES / "python" / "requirements.txt").read_text().split()
        self.assertTrue(all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in requirements), requirements)
        wanted = json.loads((peers.SOURCES / "bullmq" / "package.json").read_text())["dependencies"]
        self.assertTrue(all(re.fullmatch(r"[\d.]+", version) for version in wanted.values()), wanted)

    def test_the_readme_lists_every_peer(self):
        text = (peers.SOURCES / "README.md").read_text()
        for name in peers.PEERS:
            self.assertIn(f"| `{name}` |", text)


if __name__ == "__main__":
    unittest.main()
