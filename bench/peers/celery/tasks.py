"""The tasks and settings of the measured Celery application."""

import os
import time

from celery import Celery

app = Celery("tasks", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    task_default_queue="bench",
    task_acks_late=True,  # a task outlives its worker, as with the other queues
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    task_send_sent_event=False,
    result_expires=3600,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task
def noop(data):
    return None


@app.task
def stamp(data):
    return time.monotonic_ns()
