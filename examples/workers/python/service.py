"""Tasks over HTTP, with nothing but Python's standard library: each task is a POST, the answer is its end.

    handler: {http: {port: 8080, path: /tasks}}

200 and the result: done. 503: try again later. 422: no retry can help.
"""

import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def count_words(texts, say):
    counts = {}
    for done, text in enumerate(texts, start=1):
        for word in text.split():
            counts[word] = counts.get(word, 0) + 1
        say("progress", {"done": done, "of": len(texts)})
    return counts


class Tasks(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        # The worker knocks once before it takes the first task.
        self.answer(200, b"")

    def do_POST(self):
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        control = self.headers["ce-control"]

        def say(what, value):
            body = json.dumps(value).encode()
            urllib.request.urlopen(f"{control}/{what}", data=body, timeout=5).close()

        if self.headers["ce-type"] != "count-words":
            self.answer(422, f"no task of type {self.headers['ce-type']} is known here".encode())
        elif not isinstance(payload, list):
            self.answer(422, b"the payload is a list of texts")
        else:
            self.answer(200, json.dumps(count_words(payload, say)).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    ThreadingHTTPServer(("127.0.0.1", port), Tasks).serve_forever()
