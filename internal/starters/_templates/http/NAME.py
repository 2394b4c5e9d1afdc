"""NAME: 1 if the completion ends with the answer, else 0. An HTTP endpoint.

    GROUSE_REWARD_SECRET=... python3 NAME.py 8099

In a recipe:   rewards: [{use: http, name: NAME, url: http://127.0.0.1:8099/, secret_env: GROUSE_REWARD_SECRET}]
Try it:        grouse reward test http --param url=http://127.0.0.1:8099/ --param secret_env=GROUSE_REWARD_SECRET --data cases.jsonl

With a secret, a request is signed: HMAC-SHA256 of "TIMESTAMP." and the body. 429 and 5xx are tried again, other
statuses are not.
"""
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ.get("GROUSE_REWARD_SECRET", "").encode()
OLDEST = 300  # seconds; an older signature may be a replay


def score(text, columns):
    return 1.0 if text.strip().endswith(str(columns["answer"])) else 0.0


def answer(group):
    return {"scores": [score(c["text"], group["columns"]) for c in group["completions"]]}


def signed(headers, body, now):
    stamp, signature = headers.get("X-Grouse-Timestamp", ""), headers.get("X-Grouse-Signature", "")
    want = hmac.new(SECRET, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return stamp.isdigit() and abs(now - int(stamp)) <= OLDEST and hmac.compare_digest(signature, want)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if SECRET and not signed(self.headers, body, time.time()):
            return self.reply(403, {"error": "the signature is wrong"})
        self.reply(200, answer(json.loads(body)))

    def reply(self, status, message):
        data = json.dumps(message).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("serving", server.server_address[1], flush=True)
    server.serve_forever()
