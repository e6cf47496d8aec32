"""taskiq with its Redis streams broker as a peer of the benchmark."""

import asyncio
import logging
import os

import peer
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker


class Taskiq:
    """A broker on a stream of its own; no result backend, so that nothing is kept."""

    def __init__(self, on_job):
        self.broker = RedisStreamBroker(os.environ["REDIS_URL"], queue_name=f"{{{os.environ['PEER_NAME']}}}", consumer_id="0")
        self.pad = peer.pad()
        self.working = None

        async def noop(n, pad, intended=0.0):
            on_job(intended)

        self.noop = self.broker.register_task(noop, task_name="noop")

    async def enqueue(self, n):
        """Its API has no bulk form: calls at once, over its pool of connections."""
        await asyncio.gather(*(self.noop.kiq(place, self.pad) for place in range(n)))

    async def submit(self, place, intended):
        await self.noop.kiq(place, self.pad, intended)

    async def work(self, concurrency):
        self.working = asyncio.create_task(run_receiver_task(self.broker, max_async_tasks=concurrency))
        await asyncio.sleep(0)

    async def close(self):
        if self.working:
            self.working.cancel()
            # It waits for a blocking read that nothing ends: a second is enough to finish what was begun.
            await asyncio.wait([self.working], timeout=1)


async def taskiq(on_job):
    logging.disable(logging.WARNING)
    adapter = Taskiq(on_job)
    await adapter.broker.startup()
    return adapter


peer.main(taskiq)
