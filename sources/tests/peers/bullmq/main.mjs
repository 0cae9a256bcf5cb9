// BullMQ under the contract of sources/tests/peers/README.md.
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const NAME = 'jobs';
const connect = () => new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function start(slots) {
  const redis = connect();
  const handler = async (job) => {
    await sleep(job.data.millis);
    while (!(await redis.exists('gate'))) await sleep(20);
    await redis.sadd('done', job.id);
  };
  const worker = new Worker(NAME, handler, { connection: connect(), concurrency: slots });
  worker.on('error', (error) => console.error(error));
  await worker.waitUntilReady();
  return worker;
}

async function serve() {
  const queue = new Queue(NAME, { connection: connect() });
  await queue.waitUntilReady();
  let worker;
  const add = (count, millis, opts) =>
    queue.addBulk(Array.from({ length: count }, () => ({ name: 'task', data: { millis }, opts })));
  const commands = {
    add: (count, millis) => add(count, millis),
    prioritized: (count, millis) => add(count, millis, { priority: 7 }),
    later: (count, millis) => add(count, 0, { delay: millis }),
    counts: async () => {
      const counts = await queue.getJobCounts('waiting', 'paused', 'prioritized', 'delayed', 'active');
      return {
        waiting: counts.waiting + (counts.paused ?? 0) + counts.prioritized,
        delayed: counts.delayed,
        active: counts.active,
        paused: await queue.isPaused(),
      };
    },
    pause: () => queue.pause(),
    resume: () => queue.resume(),
    limit: (count) => queue.setGlobalConcurrency(count),
    rate: (max, millis) => queue.setGlobalRateLimit(max, millis),
    work: async (slots) => {
      worker = await start(slots);
    },
    end: () => worker.close(),
  };
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, ...words] = line.split(' ');
    const answer = await commands[command](...words.map(Number));
    print(command === 'counts' ? answer : {});
  }
}

if (process.argv[2] === 'worker') {
  const worker = await start(Number(process.argv[3]));
  process.on('SIGTERM', () => worker.close().then(() => process.exit(0)));
} else {
  await serve();
  process.exit(0);
}
