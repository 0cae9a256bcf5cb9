// A child that does something for each task, and keeps account of what it did.
'use strict';
const { appendFileSync } = require('node:fs');
const account = '/effects/' + process.env.HOSTNAME;
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n');
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { task } = JSON.parse(line);
  if (!task) return;
  say({ progress: { id: task.id, progress: { at: 'half' } } });
  setTimeout(() => {
    appendFileSync(account, task.id + '\n');
    say({ done: { id: task.id } });
  }, 5);
});
say({ ready: {} });
