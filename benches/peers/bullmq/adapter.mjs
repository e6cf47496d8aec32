// BullMQ as a peer of the benchmark; the protocol is in ../README.md.
//
// Drains in one process; for latency the handlers run in a process of their own, as ours do.
// Jobs are removed when completed: nothing is kept, which is BullMQ at its fastest.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker as Thread, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Queue, Worker } from 'bullmq';

const BULK = 1000;
const CONCURRENCY = 100;
// The first arrivals warm up both sides and are not counted.
const N_WARM = 100;
// So long after the last arrival a job may start.
const LATE_MS = 30_000;

const url = process.env.REDIS_URL;
const name = process.env.PEER_NAME;
const pad = 'x'.repeat(Number(process.env.PAYLOAD_BYTES ?? 80));
const connection = { url, maxRetriesPerRequest: null };
// A prefix in braces keeps all keys of the queue on one shard of a clustered server.
const where = { connection, prefix: `{${name}}` };
const once = { removeOnComplete: true, removeOnFail: true };

const now = () => performance.timeOrigin + performance.now();
const say = (answer) => console.log(JSON.stringify(answer));
// The last line is what the benchmark shows of it.
const fail = (error) => {
  console.error(`${error.stack}\n${error.message}`);
  process.exit(1);
};

async function enqueue(queue, n) {
  const begun = now();
  for (let first = 0; first < n; first += BULK) {
    const jobs = Array.from({ length: Math.min(BULK, n - first) }, (_, place) => ({
      name: 'noop',
      data: { n: first + place, pad },
      opts: once,
    }));
    await queue.addBulk(jobs);
  }
  return (now() - begun) / 1000;
}

async function drain(queue, n, concurrency) {
  const enqueueSeconds = await enqueue(queue, n);
  let ended = 0;
  let first = 0;
  let worker;
  const seconds = await new Promise((resolve, reject) => {
    const handler = async () => {
      ended += 1;
      if (ended === 1) first = now();
      if (ended === n) resolve((now() - first) / 1000);
      return null;
    };
    worker = new Worker('bench', handler, { ...where, concurrency });
    worker.on('error', reject);
    worker.on('failed', (_, error) => reject(error));
  });
  await worker.close();
  return { jobs: ended, enqueue_seconds: enqueueSeconds, seconds };
}

// The process that runs the handlers: says `ready`, later every latency in milliseconds.
async function serve(n) {
  const waits = [];
  const handler = async (job) => {
    waits.push(now() - job.data.intended);
    if (waits.length === n) process.send({ waits });
    return null;
  };
  const worker = new Worker('bench', handler, { ...where, concurrency: CONCURRENCY });
  await worker.waitUntilReady();
  // Whoever asked is gone: nobody would stop it.
  process.on('disconnect', () => process.exit(1));
  process.on('message', () => worker.close().finally(() => process.exit(0)));
  process.send({ ready: true });
}

async function latency(queue, rate, seconds) {
  const n = rate * seconds + N_WARM;
  await queue.waitUntilReady();
  const child = fork(fileURLToPath(import.meta.url), ['serve', String(n)]);
  const said = (word) =>
    new Promise((resolve, reject) => {
      child.on('message', (message) => message[word] && resolve(message[word]));
      child.on('exit', (code) => reject(new Error(`the worker process ended with ${code}`)));
      setTimeout(() => reject(new Error(`no ${word} in time`)), seconds * 1000 + LATE_MS).unref();
    });
  await said('ready');
  const answer = said('waits');
  const begun = now() + 50;
  const ticks = new Thread(fileURLToPath(import.meta.url), { workerData: { begun, rate, n } });
  ticks.on('message', (place) => {
    queue.add('noop', { n: place, pad, intended: begun + (place * 1000) / rate }, once).catch(fail);
  });
  const waits = (await answer).slice(N_WARM).sort((a, b) => a - b);
  child.removeAllListeners('exit');
  child.send('stop');
  const at = (quantile) => waits[Math.min(waits.length - 1, Math.ceil(quantile * waits.length) - 1)];
  return { jobs: waits.length, p50_ms: at(0.5), p99_ms: at(0.99) };
}

// Says each arrival at its own moment, whatever became of those before; a timer would round to milliseconds.
function metronome({ begun, rate, n }) {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let place = 0; place < n; place += 1) {
    const left = begun + (place * 1000) / rate - now();
    if (left > 0) Atomics.wait(cell, 0, 0, left);
    parentPort.postMessage(place);
  }
}

async function main([measure, ...numbers]) {
  const [first, second] = numbers.map(Number);
  if (measure === 'serve') return serve(first);
  // When whoever asked is gone, nobody would stop this program.
  process.stdin.on('end', () => process.exit(1)).resume();
  const queue = new Queue('bench', where);
  const answers = {
    drain: () => drain(queue, first, second),
    latency: () => latency(queue, first, second),
  };
  say({ measure, ...(await answers[measure]()) });
  process.exit(0);
}

if (isMainThread) {
  main(process.argv.slice(2)).catch(fail);
} else {
  metronome(workerData);
}
