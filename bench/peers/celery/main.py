"""Celery under the contract of bench/peers/README.md."""

import json
import os
import subprocess
import sys
import threading
import time

import celery

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = {"data": "x" * 89}
HOUR = 3600


def show(value):
    print(json.dumps(value), flush=True)


def enqueue(count, callers=1, **options):
    from tasks import app, noop

    app.pool.limit = callers
    with app.producer_pool.acquire(block=True) as producer:
        producer.connection.ensure_connection()  # before the clock starts
    left = iter(range(count))
    faults = []

    def caller():
        try:
            with app.producer_pool.acquire(block=True) as producer:
                for _ in left:
                    noop.apply_async((DATA,), producer=producer, **options)
        except Exception as fault:  # told by the main thread
            faults.append(fault)

    begun = time.monotonic()
    if callers == 1:
        caller()
    else:
        threads = [threading.Thread(target=caller) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seconds = time.monotonic() - begun
    if faults:
        raise faults[0]
    show({"count": count, "seconds": seconds})


def start(slots):
    words = ["worker", "--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    words += ["--pool=prefork", f"--concurrency={slots}"]
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "--quiet", "--app", "tasks", *words],
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
    )


def work(slots):
    worker = start(slots)
    show({"ready": True})
    sys.stdin.read()
    worker.terminate()
    worker.wait()


def latency(count, pause, rate):
    worker = start(4)
    try:
        latencies = measured(count, pause, rate)
    finally:
        worker.terminate()
        worker.wait()
    show({"latencies_us": latencies})


def measured(count, pause, rate):
    from tasks import stamp

    stamp.delay(DATA).get(timeout=60)
    sent, results = [], []
    begun = time.monotonic()
    for index in range(count):
        if rate:
            time.sleep(max(0.0, begun + index / rate - time.monotonic()))
        sent.append(time.monotonic_ns())
        results.append(stamp.apply_async((DATA,)))
        if not rate:
            results[index].get(timeout=60)
            time.sleep(pause)
    # The clock of both processes is the machine's.
    started = [result.get(timeout=120) for result in results]
    return [(after - before) / 1000 for before, after in zip(sent, started)]


def main(command, *words):
    if command == "version":
        return show({"version": celery.__version__})
    if command == "work":
        return work(words[0])
    numbers = [int(word) for word in words]
    if command in ("enqueue-one", "enqueue-bulk"):
        return enqueue(numbers[0])
    if command == "enqueue-concurrent":
        return enqueue(numbers[0], numbers[1])
    if command == "schedule":
        return enqueue(numbers[0], countdown=HOUR)
    if command == "latency-idle":
        return latency(numbers[0], numbers[1] / 1e6, 0)
    if command == "latency-rate":
        return latency(numbers[0], 0, numbers[1])
    sys.exit(f"no command is named {command}")


if __name__ == "__main__":
    main(*sys.argv[1:])
