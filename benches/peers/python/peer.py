"""What the adapters in Python share: the protocol of ../README.md, the clock, arrivals at a steady rate.

An adapter gives `open(queue, on_job)`, an object with `enqueue`, `submit`, `work` and `close`.
Drains run in one process; for latency the handlers run in a process of their own, as ours do.
Either ends when its standard input does.
"""

import asyncio
import json
import math
import os
import sys
import threading
import time

import uvloop

BULK = 1000
CONCURRENCY = 100
# The first arrivals warm up both sides and are not counted.
N_WARM = 100
# So long after the last arrival a job may start.
LATE_S = 30


def now_ms():
    return time.time() * 1000


def pad():
    return "x" * int(os.environ.get("PAYLOAD_BYTES", "80"))


class Count:
    """Handler ends, counted and timed from the first to the last."""

    def __init__(self, n):
        self.n, self.ended, self.first, self.last = n, 0, 0.0, 0.0
        self.done = asyncio.Event()

    def __call__(self, _intended):
        self.last = time.perf_counter()
        self.ended += 1
        if self.ended == 1:
            self.first = self.last
        if self.ended == self.n:
            self.done.set()


class Waits:
    """From the moment a job was meant to be submitted to its handler's start."""

    def __init__(self, n):
        self.n, self.waits = n, []
        self.done = asyncio.Event()

    def __call__(self, intended):
        self.waits.append(now_ms() - intended)
        if len(self.waits) == self.n:
            self.done.set()


def ticks(begun, rate, n, loop, act):
    """Calls `act(place, intended)` at each arrival's own moment, whatever became of those before."""

    def beat():
        for place in range(n):
            intended = begun + place * 1000 / rate
            left = (intended - now_ms()) / 1000
            if left > 0:
                time.sleep(left)
            loop.call_soon_threadsafe(act, place, intended)

    threading.Thread(target=beat, daemon=True).start()


async def enqueue(peer, n):
    begun = time.perf_counter()
    for first in range(0, n, BULK):
        await peer.enqueue(min(BULK, n - first))
    return time.perf_counter() - begun


async def drain(opener, n, concurrency):
    count = Count(n)
    peer = await opener(count)
    enqueue_seconds = await enqueue(peer, n)
    await peer.work(concurrency)
    await asyncio.wait_for(count.done.wait(), LATE_S + n / 50)
    await peer.close()
    return {"jobs": count.ended, "enqueue_seconds": enqueue_seconds, "seconds": count.last - count.first}


async def serve(opener, n):
    """The process that runs the handlers: a line `ready`, then every wait in milliseconds as one line."""
    waits = Waits(n)
    peer = await opener(waits)
    await peer.work(CONCURRENCY)
    print("ready", flush=True)
    await waits.done.wait()
    print(json.dumps(waits.waits), flush=True)
    await peer.close()


async def latency(opener, rate, seconds):
    n = rate * seconds + N_WARM
    pipe = asyncio.subprocess.PIPE
    words = (sys.executable, sys.argv[0], "serve", str(n))
    child = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, limit=1 << 26)
    try:
        if await asyncio.wait_for(child.stdout.readline(), LATE_S) != b"ready\n":
            raise SystemExit("the worker process did not start")
        peer = await opener(None)
        sent = set()

        def act(place, intended):
            task = asyncio.ensure_future(peer.submit(place, intended))
            sent.add(task)
            task.add_done_callback(sent.discard)

        ticks(now_ms() + 50, rate, n, asyncio.get_running_loop(), act)
        line = await asyncio.wait_for(child.stdout.readline(), seconds + LATE_S)
        await peer.close()
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
    waits = sorted(json.loads(line)[N_WARM:])
    return {"jobs": len(waits), "p50_ms": at(waits, 0.5), "p99_ms": at(waits, 0.99)}


def at(ordered, quantile):
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)]


async def run(opener, measure, numbers):
    if measure == "serve":
        await serve(opener, *numbers)
        return
    if measure == "drain":
        answer = await drain(opener, *numbers)
    elif measure == "latency":
        answer = await latency(opener, *numbers)
    else:
        raise SystemExit(f"no measure is called {measure}; there are drain, latency")
    print(json.dumps({"measure": measure, **answer}), flush=True)


def end_with_standard_input():
    """When whoever asked is gone, nobody would stop this program."""
    sys.stdin.read()
    os._exit(1)


def main(opener):
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    uvloop.run(run(opener, sys.argv[1], [int(word) for word in sys.argv[2:]]))
    sys.stdout.flush()
    # Threads and pools of the peer may outlive their use; nothing of theirs is needed any more.
    os._exit(0)
