// BullMQ under the contract of bench/peers/README.md.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const NAME = 'bench';
const BATCH = 1000;
const HOUR = 3_600_000;
const DATA = { data: 'x'.repeat(89) };

const connect = () => new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const print = (value) =>
  new Promise((resolve) => process.stdout.write(`${JSON.stringify(value)}\n`, resolve));
const now = () => Number(process.hrtime.bigint()) / 1000;

async function opened() {
  const queue = new Queue(NAME, { connection: connect() });
  await queue.waitUntilReady();
  return queue;
}

async function timed(count, action) {
  const begun = now();
  await action();
  await print({ count, seconds: (now() - begun) / 1e6 });
}

async function callers(queue, count, concurrent) {
  let left = count;
  const caller = async () => {
    while (left-- > 0) await queue.add('noop', DATA);
  };
  await Promise.all(Array.from({ length: concurrent }, caller));
}

async function bulk(queue, count, opts) {
  for (let done = 0; done < count; done += BATCH) {
    const size = Math.min(BATCH, count - done);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: 'noop', data: DATA, opts })));
  }
}

async function worker(slots, handler) {
  const made = new Worker(NAME, handler, { connection: connect(), concurrency: slots });
  made.on('error', (error) => console.error(error));
  await made.waitUntilReady();
  return made;
}

async function latency(queue, slots, count, pauseMicros, rate) {
  const sent = [];
  const started = [];
  let wake = () => {};
  await worker(slots, async (job) => {
    started[job.data.index] = now();
    wake();
  });
  const enqueue = (index) => {
    sent[index] = now();
    return queue.add('noop', { data: DATA.data, index });
  };
  await sleep(500);
  if (rate) {
    const begun = now();
    const calls = [];
    while (calls.length < count) {
      const due = Math.min(count, Math.floor(((now() - begun) * rate) / 1e6) + 1);
      while (calls.length < due) calls.push(enqueue(calls.length));
      await sleep(1);
    }
    await Promise.all(calls);
    const deadline = now() + 60e6;
    while (started.filter(Boolean).length < count) {
      if (now() > deadline) throw new Error('not all tasks have started');
      await sleep(10);
    }
  } else {
    for (let index = 0; index < count; index++) {
      const seen = new Promise((resolve) => (wake = resolve));
      await enqueue(index);
      await seen;
      await sleep(pauseMicros / 1000);
    }
  }
  await print({ latencies_us: started.map((at, index) => at - sent[index]) });
}

const [command, ...words] = process.argv.slice(2);
const [first, second] = words.map(Number);
switch (command) {
  case 'version':
    await print({ version: createRequire(import.meta.url)('bullmq/package.json').version });
    break;
  case 'enqueue-one':
    await opened().then((queue) => timed(first, () => callers(queue, first, 1)));
    break;
  case 'enqueue-concurrent':
    await opened().then((queue) => timed(first, () => callers(queue, first, second)));
    break;
  case 'enqueue-bulk':
    await opened().then((queue) => timed(first, () => bulk(queue, first)));
    break;
  case 'schedule':
    await opened().then((queue) => timed(first, () => bulk(queue, first, { delay: HOUR })));
    break;
  case 'work':
    await worker(first, async () => {});
    await print({ ready: true });
    await new Promise((resolve) => process.stdin.on('end', resolve).resume());
    break;
  case 'latency-idle':
    await latency(await opened(), 100, first, second);
    break;
  case 'latency-rate':
    await latency(await opened(), 100, first, 0, second);
    break;
  default:
    console.error(`no command is named ${command}`);
    process.exit(2);
}
process.exit(0);
