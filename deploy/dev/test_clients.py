"""What the examples' tests are run with: found again when it is there, said when it cannot be."""

import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import clients
from machine import Trouble


class Clients(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def test_without_node_the_example_is_read_and_that_is_said(self):
        with mock.patch("shutil.which", return_value=None), mock.patch("sys.stderr", io.StringIO()) as said:
            self.assertIsNone(clients.node(self.folder))
        self.assertIn("read by the tests, not run", said.getvalue())

    def test_packages_that_are_there_are_not_fetched_again(self):
        (self.folder / "node").mkdir()
        (self.folder / "node" / "installed").write_text("\n".join(clients.PACKAGES))
        with mock.patch("shutil.which", return_value="/usr/bin/node"), mock.patch("clients.checked") as fetch:
            self.assertEqual(clients.node(self.folder), self.folder / "node")
        fetch.assert_not_called()

    def test_packages_that_cannot_be_fetched_do_not_stop_the_tests(self):
        with (
            mock.patch("shutil.which", return_value="/usr/bin/node"),
            mock.patch("clients.checked", side_effect=Trouble("no network")),
            mock.patch("sys.stderr", io.StringIO()) as said,
        ):
            self.assertIsNone(clients.node(self.folder))
        self.assertIn("no network", said.getvalue())


if __name__ == "__main__":
    unittest.main()
