"""The tasks and settings of the Celery application."""

import os
import time

import redis
from celery import Celery

app = Celery("tasks", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_default_queue="jobs",
    task_ignore_result=True,
    task_acks_late=os.environ.get("ACKS") != "early",  # so a task outlives its worker
    worker_prefetch_multiplier=1,
    broker_transport_options={"visibility_timeout": 60},
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
client = redis.Redis.from_url(os.environ["REDIS_URL"])


@app.task(bind=True)
def task(self, millis):
    time.sleep(millis / 1000)
    while not client.exists("gate"):
        time.sleep(0.02)
    client.sadd("done", self.request.id)
