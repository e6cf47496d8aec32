"""The parts of the door that need no server: what is chosen, what is remembered, what is never stopped."""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import deny
import dragonfly
import foreground
import machine
import model
import pgvector
import postgres
import processes
import resp
import servers
import state as states
import wheels


class InAFolder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name).resolve()
        silence = mock.patch("sys.stderr", io.StringIO())
        silence.start()
        self.addCleanup(silence.stop)

    def sleeper(self, program="import time; time.sleep(60)", stop=None):
        """A harmless process of ours, known by its folder."""
        record = processes.start([sys.executable, "-c", program], self.folder / "log", self.folder, self.folder, stop=stop)
        self.addCleanup(processes.stop, record)
        return record


class Versions(unittest.TestCase):
    def test_numbers_are_compared_as_numbers(self):
        self.assertGreater(machine.version_of("pgvector 0.8.10"), machine.version_of("0.8.9"))
        self.assertEqual(machine.version_of("postgres (PostgreSQL) 16.14 (Debian)"), (16, 14))
        self.assertEqual(machine.version_of("no number"), ())
        self.assertEqual(machine.version_of(None), ())

    def test_a_pgvector_below_the_oldest_or_of_unknown_version_is_refused(self):
        for offered, good in (((0, 8, 4), True), ((0, 8, 5), True), ((1, 0), True), ((0, 8, 3), False), ((), False)):
            self.assertEqual(pgvector.good_enough(offered), good, offered)


class Addresses(unittest.TestCase):
    def test_a_url_whose_password_cuts_it_short_is_refused_without_showing_any_of_it(self):
        for password in ("wo/rd", "wo#rd", "12/word", "12#word", "wo@rd/x", "12?word"):
            url = f"postgres://ada:{password}@db:5432/trips"
            with self.assertRaises(machine.Trouble) as refused:
                postgres.from_environment(url)
            told = str(refused.exception)
            self.assertTrue("TRIPSAGE_DB_URL" in told and "percent-encoded" in told, told)
            self.assertFalse("wo" in told.replace("password", "") or "12" in told, told)

    def test_an_encoded_password_is_taken_as_it_is_meant(self):
        parts = machine.server_parts("URL", "postgres://ada:a%40b%2Fc%3Ad%23e@db:5432/trips")
        self.assertEqual((parts.hostname, parts.port, parts.password), ("db", 5432, "a%40b%2Fc%3Ad%23e"))


class Choices(InAFolder):
    def test_the_services_own_variable_comes_before_the_common_ones(self):
        everything = {"REDIS_URL": "redis://c", "DRAGONFLY_URL": "redis://b", "TRIPSAGE_DRAGONFLY_URL": "redis://a"}
        self.assertEqual(dragonfly.given(everything), ("TRIPSAGE_DRAGONFLY_URL", "redis://a"))
        del everything["TRIPSAGE_DRAGONFLY_URL"]
        self.assertEqual(dragonfly.given(everything), ("DRAGONFLY_URL", "redis://b"))
        self.assertEqual(dragonfly.given({"REDIS_URL": "redis://c", "DRAGONFLY_URL": " "}), ("REDIS_URL", "redis://c"))
        self.assertIsNone(dragonfly.given({}))

    def test_dragonfly_comes_before_valkey_and_valkey_before_redis(self):
        for present, first in (
            ({"dragonfly", "valkey-server", "redis-server"}, "dragonfly"),
            ({"valkey-server", "redis-server"}, "valkey-server"),
            ({"redis-server"}, "redis-server"),
        ):
            found = dragonfly.on_path(dragonfly.BINARIES, lambda name: f"/bin/{name}" if name in present else None)
            self.assertEqual(found, (first, f"/bin/{first}"))
        self.assertIsNone(dragonfly.on_path(dragonfly.BINARIES, lambda name: None))

    def choices(self, address=None, docker=False, docker_works=True, programs=()):
        """What `bring_up` chooses on a machine that offers this."""
        started = {"choice": "container"} if docker_works else None
        launched = lambda state, role, name, path, why, variable: {"choice": name}
        with mock.patch.object(dragonfly.compose, "available", return_value=docker), mock.patch.object(
            dragonfly.compose, "bring_up", return_value=started
        ), mock.patch.object(dragonfly, "launch", side_effect=launched), mock.patch.object(
            dragonfly.resp, "identity", return_value="given"
        ), mock.patch.object(
            dragonfly, "on_path", side_effect=lambda names: next(((n, n) for n in names if n in programs), None)
        ), mock.patch.object(dragonfly, "apt_install", return_value=True), mock.patch.object(dragonfly, "stop_service"):
            environment = {"TRIPSAGE_DRAGONFLY_URL": address} if address else {}
            return dragonfly.bring_up(states.State(self.folder), environment)["choice"]

    def test_an_address_wins_over_docker_docker_over_path_and_path_over_installing(self):
        self.assertEqual(self.choices("redis://x", docker=True, programs=["dragonfly"]), "given")
        self.assertEqual(self.choices(docker=True, programs=["dragonfly"]), "container")
        self.assertEqual(self.choices(docker=True, docker_works=False, programs=["valkey-server"]), "valkey-server")
        self.assertEqual(self.choices(programs=["redis-server", "dragonfly"]), "dragonfly")
        self.assertEqual(self.choices(), "redis-server")

    def test_without_root_and_servers_the_message_says_what_to_install(self):
        with mock.patch.object(dragonfly, "on_path", return_value=None), mock.patch.object(dragonfly, "apt_install", return_value=False):
            with self.assertRaisesRegex(machine.Trouble, "apt-get install redis-server"):
                dragonfly.binary(states.State(self.folder), dragonfly.BINARIES)

    def test_a_postgres_counts_only_with_its_programs_and_reads_pgvector_from_its_share(self):
        bindir = self.folder / "bin"
        bindir.mkdir()
        with mock.patch.object(os, "get_exec_path", return_value=[str(bindir)]), mock.patch.object(pgvector.glob, "glob", return_value=[]):
            self.assertEqual(list(pgvector.installed()), [])
            for name in ("initdb", "postgres", "psql"):
                bindir.joinpath(name).touch()
            extension = self.folder / "share" / "extension"
            extension.mkdir(parents=True)
            extension.joinpath("vector.control").write_text("comment = '1.2.3'\ndefault_version = '0.8.5'\n")
            with mock.patch.object(pgvector, "share_folder", return_value=self.folder / "share"):
                self.assertEqual(list(pgvector.installed()), [(bindir, (0, 8, 5))])

    def test_a_database_address_of_another_kind_is_refused(self):
        with self.assertRaisesRegex(machine.Trouble, "expected postgres://"):
            postgres.from_environment("mysql://u:secret@h/db")

    def test_a_development_server_keeps_nothing_on_disk_and_durability_is_never_switched_off(self):
        for name in dragonfly.CLUSTER_BINARIES:
            words = dragonfly.arguments(name, 7000, self.folder)
            self.assertEqual(words[words.index("--save") + 1], "")
            self.assertEqual(words[words.index("--appendonly") + 1], "no")
        self.assertIn("--lock_on_hashtags", dragonfly.arguments("dragonfly", 7000, self.folder))
        self.assertIn("fsync=on", postgres.settings(self.folder, 7000))
        self.assertIn("synchronous_commit=on", postgres.settings(self.folder, 7000))


class Processes(InAFolder):
    def test_a_process_is_recognised_and_stopped(self):
        record = self.sleeper()
        self.assertTrue(processes.alive(record))
        self.assertTrue(processes.stop(record))
        self.assertFalse(processes.alive(record))
        self.assertFalse(processes.stop(record))

    def test_a_stranger_under_a_remembered_id_is_never_stopped(self):
        record = self.sleeper()
        self.assertFalse(processes.stop({**record, "started": 1}))
        self.assertFalse(processes.stop({**record, "marker": "/somewhere/else"}))
        self.assertTrue(processes.alive(record))

    def test_a_killed_process_is_not_alive_even_before_it_is_collected(self):
        record = self.sleeper()
        os.kill(record["pid"], 9)
        os.waitid(os.P_PID, record["pid"], os.WEXITED | os.WNOWAIT)
        self.assertFalse(processes.alive(record))

    def test_what_a_crash_left_in_our_folder_is_found_and_nothing_else(self):
        record = self.sleeper()
        comm = Path(f"/proc/{record['pid']}/comm").read_text().strip()
        self.assertEqual([stray["pid"] for stray in processes.strays(self.folder, [comm])], [record["pid"]])
        self.assertEqual(processes.strays(self.folder, ["redis-server"]), [])
        self.assertEqual(processes.strays(self.folder / "other", [comm]), [])

    def test_a_stale_postmaster_file_that_names_a_stranger_stops_nobody(self):
        record = self.sleeper()
        data = self.folder / "data-16"
        data.mkdir()
        data.joinpath("postmaster.pid").write_text(f"{record['pid']}\n{data}\n")
        postgres.stop_stray(data)
        self.assertTrue(processes.alive(record))
        # Postgres would take the stranger for a server of its own and refuse to start.
        self.assertFalse(data.joinpath("postmaster.pid").exists())


class AStop(InAFolder):
    """A server that takes its time over the first signal, or for ever, and what its control file says meanwhile."""

    SHUTTING_DOWN, IN_PRODUCTION = 3, 6

    def server(self, state, seconds):
        """One that is gone so long after the first signal; the second comes after a tenth of a second."""
        control = self.folder / "global" / "pg_control"
        control.parent.mkdir()
        control.write_bytes(bytes(16) + state.to_bytes(4, sys.byteorder) + bytes(492))
        program = f"""
import pathlib, signal, time
def leave(*_):
    time.sleep({seconds})
    pathlib.Path("clean").touch()
    raise SystemExit
signal.signal(signal.SIGINT, leave)
pathlib.Path("ready").touch()
time.sleep(60)
"""
        record = self.sleeper(program, [["INT", 0.1], ["KILL", 5]])
        self.assertTrue(any(self.folder.joinpath("ready").exists() or time.sleep(0.02) for _ in range(500)))
        return record

    def stopped_cleanly(self, record):
        self.assertTrue(postgres.stop(record))
        self.assertFalse(processes.alive(record))
        return self.folder.joinpath("clean").exists()

    def test_a_shutdown_checkpoint_is_not_cut_short_and_the_user_hears_why_it_takes_long(self):
        self.assertTrue(self.stopped_cleanly(self.server(self.SHUTTING_DOWN, 0.5)))
        self.assertIn("last checkpoint", sys.stderr.getvalue())

    def test_clients_hold_a_stop_up_only_as_long_as_they_may(self):
        self.assertFalse(self.stopped_cleanly(self.server(self.IN_PRODUCTION, 30)))

    def test_a_checkpoint_that_never_ends_is_cut_short_in_the_end(self):
        with mock.patch.object(processes, "FINISH_S", 0.3):
            self.assertFalse(self.stopped_cleanly(self.server(self.SHUTTING_DOWN, 30)))

    def test_the_door_stops_its_postgres_so(self):
        state = states.State(self.folder, {"postgres": self.server(self.SHUTTING_DOWN, 0.5)})
        self.assertTrue(servers.stop(state, "postgres"))
        self.assertTrue(self.folder.joinpath("clean").exists())


class TheState(InAFolder):
    def test_it_survives_a_save_and_is_for_the_owner_only(self):
        state = states.State(self.folder)
        state.put("dragonfly", {"env": "TRIPSAGE_DRAGONFLY_URL", "url": "redis://127.0.0.1:1/0"})
        again = states.load(self.folder)
        self.assertEqual(again.environment(), {"TRIPSAGE_DRAGONFLY_URL": "redis://127.0.0.1:1/0"})
        self.assertEqual(state.path.stat().st_mode & 0o777, 0o600)

    def test_an_unreadable_file_is_set_aside_not_fatal(self):
        for body in ("{", "[]", json.dumps({"version": 99, "servers": {}, "holders": []})):
            self.folder.joinpath("servers.json").write_text(body)
            self.assertEqual(states.load(self.folder).servers, {})
            self.assertEqual(self.folder.joinpath("servers.json.unreadable").read_text(), body)

    def test_the_last_holder_to_leave_stops_what_was_not_kept(self):
        state = states.State(self.folder, {"kept": {"kept": True}, "mine": {}})
        state.hold()
        other = self.sleeper()
        state.holders.append({**other, "marker": ""})
        self.assertEqual(state.release(), [])
        processes.stop(other)
        state.hold()
        self.assertEqual(state.release(), ["mine"])

    def test_a_holder_that_was_killed_does_not_hold(self):
        state = states.State(self.folder, {"mine": {}}, [{"pid": 999999999, "started": 1, "marker": ""}])
        self.assertEqual(state.release(), ["mine"])

    def test_passwords_are_masked_in_what_is_said(self):
        self.assertEqual(servers.masked("postgres://tripsage:secret@127.0.0.1:1/db"), "postgres://tripsage:***@127.0.0.1:1/db")
        self.assertEqual(servers.masked("redis://:p@ss@h:1/0"), "redis://:***@h:1/0")
        self.assertEqual(servers.masked("redis://h:1/0"), "redis://h:1/0")


class TheCommand(unittest.TestCase):
    def test_its_exit_code_is_passed_on(self):
        self.assertEqual(foreground.run(["sh", "-c", "exit 7"], os.environ), 7)
        self.assertEqual(foreground.run(["sh", "-c", "kill -9 $$"], os.environ), 137)

    def test_one_that_does_not_exist_is_a_clear_error(self):
        with self.assertRaisesRegex(machine.Trouble, "cannot be run"):
            foreground.run(["/no/such/program"], os.environ)


class Downloads(InAFolder):
    def test_only_the_named_parts_are_unpacked_and_programs_stay_runnable(self):
        archive = self.folder / "a.whl"
        with zipfile.ZipFile(archive, "w") as wheel:
            for name, rights in (("pkg/bin/run", 0o755), ("pkg/text", 0o644), ("other/text", 0o644)):
                entry = zipfile.ZipInfo(name)
                entry.external_attr = rights << 16
                wheel.writestr(entry, "x")
        wheels.unpack(archive, ("pkg/",), self.folder / "out")
        self.assertTrue(os.access(self.folder / "out" / "pkg" / "bin" / "run", os.X_OK))
        self.assertEqual(self.folder.joinpath("out", "pkg", "text").stat().st_mode & 0o777, 0o644)
        self.assertFalse(self.folder.joinpath("out", "other").exists())

    def test_a_model_that_differs_in_any_byte_is_named(self):
        files = {"LICENSE": ("inside", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")}
        self.assertIn("missing", model.problem(self.folder, files))
        self.folder.joinpath("LICENSE").write_text("abcd")
        self.assertIn("4 bytes, expected 3", model.problem(self.folder, files))
        self.folder.joinpath("LICENSE").write_text("abd")
        self.assertIn("SHA-256", model.problem(self.folder, files))
        self.folder.joinpath("LICENSE").write_text("abc")
        self.assertIsNone(model.problem(self.folder, files))


class Advisories(InAFolder):
    def outcome(self, fetched, copy):
        if copy:
            self.folder.joinpath("advisory-dbs", "db", "crates").mkdir(parents=True)
        with mock.patch.dict(os.environ, {"CARGO_HOME": str(self.folder)}), mock.patch.object(
            deny, "output", return_value=fetched
        ), mock.patch.object(deny, "check", return_value=3) as check, mock.patch.object(deny, "say") as said:
            return deny.advisories("cargo-deny"), check.called, " ".join(str(call) for call in said.call_args_list)

    def test_they_are_checked_fresh_else_from_a_copy_and_never_skipped_silently(self):
        code, _, words = self.outcome(None, copy=False)
        self.assertEqual(code, 0)
        self.assertIn("SKIPPED", words)
        self.assertEqual(self.outcome("", copy=False)[:2], (3, True))
        code, checked, words = self.outcome(None, copy=True)
        self.assertEqual((code, checked), (3, True))
        self.assertIn("may be old", words)


class Protocol(unittest.TestCase):
    def test_an_address_of_another_kind_or_without_a_server_is_a_clear_error(self):
        with self.assertRaisesRegex(machine.Trouble, "expected redis://"):
            resp.Connection("http://localhost")
        with self.assertRaisesRegex(machine.Trouble, "nothing answers at 127.0.0.1:1"):
            resp.Connection("redis://127.0.0.1:1/0")

    def test_the_program_explains_itself(self):
        told = subprocess.run([sys.executable, servers.__file__, "--help"], capture_output=True, text=True, check=True)
        for verb in ("up", "run", "spawn", "status", "env", "down", "clean"):
            self.assertIn(verb, told.stdout)


if __name__ == "__main__":
    unittest.main()
