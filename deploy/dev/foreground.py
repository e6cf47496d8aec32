"""Runs the user's command in the foreground and hands signals on to it.

Promise: whatever ends this program ends the command and its children first, within half a minute.
"""

import os
import signal
import subprocess
import sys

from machine import Trouble

GRACE_S = 30


class Interrupted(Exception):
    """A signal that asks this program to end."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


def interrupt(number, _frame):
    raise Interrupted(number)


def run(command, environment):
    """The command's exit code; 128 + n when signal n ended it, as shells have it."""
    # In a terminal the command shares our group: it may read the keyboard, and Ctrl-C reaches it by itself.
    own_group = not sys.stdin.isatty()
    try:
        child = subprocess.Popen(command, env=environment, start_new_session=own_group)
    except OSError as error:
        raise Trouble(f"`{command[0]}` cannot be run: {error.strerror}") from error
    try:
        return code(child.wait())
    except KeyboardInterrupt:
        return end(child, signal.SIGINT, own_group, told=not own_group)
    except Interrupted as stopped:
        return end(child, stopped.number, own_group, told=False)


def end(child, number, group, told):
    """Ends the command, softly first; gives the exit code of a program that the signal ended."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    if not told:
        send(child, number, group)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    # Children that outlived the command would hold on to servers that are about to stop.
    send(child, signal.SIGKILL, group)
    child.wait()
    return 128 + number


def send(child, number, group):
    try:
        os.killpg(child.pid, number) if group else child.send_signal(number)
    except ProcessLookupError:
        pass


def code(status):
    return status if status >= 0 else 128 - status
