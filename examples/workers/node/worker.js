// Tasks as lines of JSON on standard input, many at once, with nothing but Node's standard library.
//
//     handler: {stdio: {command: ["node", "/app/worker.js"]}}
//
// What is written to standard output is for Taskqueue; logs go to standard error.
'use strict';

const { createInterface } = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');

const say = (message) => process.stdout.write(JSON.stringify(message) + '\n');
const running = new Map();

const handlers = {
  async 'count-words'({ id, payload }, { signal }) {
    const counts = {};
    for (const [done, text] of payload.entries()) {
      for (const word of text.split(/\s+/).filter(Boolean)) counts[word] = (counts[word] || 0) + 1;
      say({ progress: { id, progress: { done: done + 1, of: payload.length } } });
      await sleep(1, undefined, { signal });
    }
    return counts;
  },
};

async function run(task) {
  const { id, type } = task;
  const abort = new AbortController();
  running.set(id, abort);
  try {
    const handler = handlers[type];
    if (!handler) return say({ dead: { id, error: `no task of type ${type} is known here` } });
    say({ done: { id, result: await handler(task, abort) } });
  } catch (error) {
    console.error(error.stack);
    say({ retry: { id, error: String(error.message) } });
  } finally {
    running.delete(id);
  }
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line);
  if (message.task) run(message.task);
  if (message.cancel) running.get(message.cancel.id)?.abort();
});
say({ ready: {} });
