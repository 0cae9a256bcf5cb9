"""Many tasks in one line, with nothing but Python's standard library: each is answered by a line of its own.

    handler: {stdio: {command: ["python3", "/app/batch.py"], batch: {max: 100, wait: 50ms}}}

All tasks of a batch are of one type. Where they are rows for a database or requests to somebody's service, here is the
place for the one statement or the one call that does them all.
"""

import json
import sys


def say(**message):
    print(json.dumps(message), flush=True)


def count_words(texts):
    counts = {}
    for text in texts:
        for word in text.split():
            counts[word] = counts.get(word, 0) + 1
    return counts


def run(batch):
    for task in batch:
        if task["type"] != "count-words":
            say(dead={"id": task["id"], "error": f"no task of type {task['type']} is known here"})
        elif not isinstance(task["payload"], list):
            say(dead={"id": task["id"], "error": "the payload is a list of texts"})
        else:
            say(done={"id": task["id"], "result": count_words(task["payload"])})


if __name__ == "__main__":
    say(ready={})
    for line in sys.stdin:
        message = json.loads(line)
        # Its other messages are {"cancel": {"id": …}}: for tasks that are done by the time it is read.
        run(message.get("batch", []))
