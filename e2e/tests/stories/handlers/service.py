"""A service that does something for each task, and keeps account of what it did."""
import json, os, time, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Tasks(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        progress = json.dumps({"at": "half"}).encode()
        urllib.request.urlopen(self.headers["ce-control"] + "/progress", data=progress).close()
        time.sleep(0.005)
        with open("/effects/" + os.environ["HOSTNAME"], "a") as account:
            account.write(self.headers["ce-id"] + "\n")
        self.answer()

    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", 8080), Tasks).serve_forever()
