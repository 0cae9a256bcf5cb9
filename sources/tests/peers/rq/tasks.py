"""The task of the RQ queue."""

import os
import time

import redis
from rq import get_current_job


def task(millis):
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    time.sleep(millis / 1000)
    while not client.exists("gate"):
        time.sleep(0.02)
    client.sadd("done", get_current_job().id)
