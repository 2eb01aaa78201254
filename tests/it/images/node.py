"""What an image's API node is to a front: it is alive, and answers with what it was asked."""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVICE = os.environ.get("NODE_SERVICE", "/opt/slipway/service")


class Node(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200 if self.path == "/isAlive/" else 404, {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization")
        if self.path.endswith("-multi"):
            results = [{"path": self.path, "asked": item, "key": key} for item in asked["items"]]
            self.answer(200, {"results": results})
        elif asked.get("hold"):
            # Until somebody lets go: what a test sees by the files.
            open(os.path.join(SERVICE, "held"), "w").close()
            while not os.path.exists(os.path.join(SERVICE, "release")):
                time.sleep(0.02)
            self.answer(200, {"held": True})
        elif asked.get("die"):
            os._exit(9)
        else:
            self.answer(200, {"path": self.path, "asked": asked, "key": key})

    def log_message(self, *_):
        pass


def stop(*_):
    print("node: told to stop", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
with open(os.path.join(SERVICE, "deployment.json")) as document:
    generations = json.load(document)["generations"]
for generation in generations:
    os.stat(os.path.join(SERVICE, generation["file"]))
print("node: FRONT_KEY" if "SLIPWAY_FRONT_KEY" in os.environ else "node: no key", flush=True)
ThreadingHTTPServer((os.environ.get("NODE_HOST", "127.0.0.1"), int(os.environ["NODE_PORT"])), Node).serve_forever()
