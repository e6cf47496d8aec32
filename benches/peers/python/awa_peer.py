"""awa, a queue in Postgres, through its package for Python, as a peer of the benchmark."""

import os
from dataclasses import dataclass

import awa
import peer

QUEUE = "bench"
# Notifications wake its worker; this is how long it waits for one that does not come. As in its own benchmark.
POLL_MS = 50


@dataclass
class Noop:
    n: int
    pad: str
    intended: float = 0.0


class Awa:
    """A client on a database of its own."""

    def __init__(self, on_job):
        self.client = awa.AsyncClient(os.environ["DATABASE_URL"], max_connections=20)
        self.pad = peer.pad()

        @self.client.task(Noop, queue=QUEUE)
        async def noop(job):
            on_job(job.args.intended)

    async def enqueue(self, n):
        """COPY, its fastest way in."""
        await self.client.enqueue_many_copy([Noop(place, self.pad) for place in range(n)], queue=QUEUE)

    async def submit(self, place, intended):
        await self.client.insert(Noop(place, self.pad, intended), queue=QUEUE)

    async def work(self, concurrency):
        await self.client.start([(QUEUE, concurrency)], poll_interval_ms=POLL_MS)

    async def close(self):
        await self.client.shutdown(timeout_ms=5000)


async def connect(on_job):
    adapter = Awa(on_job)
    await adapter.client.migrate()
    # What its worker does at its first start on a new database; a producer alone would use the older, slower tables.
    transaction = await adapter.client.transaction()
    await transaction.fetch_one("select awa.storage_auto_finalize_if_fresh('awa')")
    await transaction.commit()
    return adapter


peer.main(connect)
