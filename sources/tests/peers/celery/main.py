"""Celery under the contract of sources/tests/peers/README.md."""

import json
import os
import subprocess
import sys

from tasks import app, task

HERE = os.path.dirname(os.path.abspath(__file__))


def words(slots):
    options = ["--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    options += ["--pool=prefork", f"--concurrency={slots}"]
    return [sys.executable, "-m", "celery", "--quiet", "--app", "tasks", "worker", *options]


class Peer:
    worker = None

    def add(self, count, millis, **options):
        for _ in range(count):
            task.apply_async((millis,), **options)

    def prioritized(self, count, millis):
        self.add(count, millis, priority=7)

    def later(self, count, millis):
        self.add(count, 0, countdown=millis / 1000)

    def counts(self):
        with app.connection_for_read() as connection:
            try:
                waiting = connection.default_channel.queue_declare("jobs", passive=True).message_count
            except connection.channel_errors:  # so it tells of an empty one
                waiting = 0
        inspect = app.control.inspect(timeout=0.5)
        held = [inspect.active(), inspect.reserved(), inspect.scheduled()] if self.worker else []
        active = sum(len(tasks) for told in held for tasks in (told or {}).values())
        return {"waiting": waiting, "delayed": None, "active": active, "paused": False}

    def acks_early(self):
        os.environ["ACKS"] = "early"  # for the worker, which is a process of its own

    def work(self, slots):
        self.worker = subprocess.Popen(words(slots), cwd=HERE, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        while not app.control.ping(timeout=0.2):
            if self.worker.poll() is not None:
                sys.exit("the worker has ended")

    def end(self):
        self.worker.terminate()
        self.worker.wait()
        self.worker = None


def main():
    if sys.argv[1:2] == ["worker"]:
        os.chdir(HERE)
        os.execv(sys.executable, words(int(sys.argv[2])))
    peer = Peer()
    try:
        for line in sys.stdin:
            command, *numbers = line.split()
            answer = getattr(peer, command)(*map(int, numbers))
            print(json.dumps(answer or {}), flush=True)
    finally:
        if peer.worker:
            peer.end()


main()
