"""RQ under the contract of sources/tests/peers/README.md."""

import datetime
import json
import os
import subprocess
import sys
import time

import redis
from rq import Queue, Worker
from rq.suspension import is_suspended, resume, suspend

HERE = os.path.dirname(os.path.abspath(__file__))


def words():
    url = os.environ["REDIS_URL"]
    cli = [sys.executable, "-m", "rq.cli"]
    return [*cli, "worker", "--quiet", "--with-scheduler", "--url", url, "--path", HERE, "jobs"]


class Peer:
    """An RQ worker runs one job at a time: a worker with more slots is that many of them."""

    def __init__(self):
        self.redis = redis.Redis.from_url(os.environ["REDIS_URL"])
        self.queue = Queue("jobs", connection=self.redis)
        self.workers = []

    def add(self, count, millis):
        for _ in range(count):
            self.queue.enqueue("tasks.task", millis)

    def later(self, count, millis):
        for _ in range(count):
            self.queue.enqueue_in(datetime.timedelta(milliseconds=millis), "tasks.task", 0)

    def counts(self):
        return {
            "waiting": self.queue.count,
            "delayed": self.queue.scheduled_job_registry.count,
            "active": self.queue.started_job_registry.count,
            "paused": bool(is_suspended(self.redis)),
        }

    def pause(self):
        suspend(self.redis)

    def resume(self):
        resume(self.redis)

    def work(self, slots):
        start = lambda: subprocess.Popen(words(), cwd=HERE, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        self.workers = [start() for _ in range(slots)]
        while Worker.count(queue=self.queue) < slots:
            if any(worker.poll() is not None for worker in self.workers):
                sys.exit("a worker has ended")
            time.sleep(0.05)

    def end(self):
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait()
        self.workers = []


def main():
    if sys.argv[1:2] == ["worker"]:
        os.chdir(HERE)
        os.execv(sys.executable, words())
    peer = Peer()
    try:
        for line in sys.stdin:
            command, *numbers = line.split()
            answer = getattr(peer, command)(*map(int, numbers))
            print(json.dumps(answer or {}), flush=True)
    finally:
        peer.end()


main()
