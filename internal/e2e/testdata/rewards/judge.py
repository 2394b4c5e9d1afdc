"""One reward in four forms, for the same run by each of them.

    right(completions, answer, **columns)       TRL's signature
    judge.py exec                               a command
    judge.py http PORT                          an HTTP endpoint
    judge.py activity HOST:PORT QUEUE           a Temporal worker (needs temporalio)
"""
import json
import sys


def score(text, answer):
    last = text.replace("<answer>", " ").replace("</answer>", " ").split()
    return (1.0 if last and last[-1] == str(answer) else 0.0) + 0.01 * (len(text) % 7)


def right(completions, answer, **columns):
    return [score(c, a) for c, a in zip(completions, answer)]


def judge(group):
    return {"scores": [score(c["text"], group["columns"]["answer"]) for c in group["completions"]]}


def command():
    for line in sys.stdin:
        print(json.dumps(judge(json.loads(line))), flush=True)


def serve(port):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            data = json.dumps(judge(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print("serving", server.server_address[1], flush=True)
    server.serve_forever()


async def work(address, queue):
    from temporalio import activity
    from temporalio.client import Client
    from temporalio.worker import Worker

    @activity.defn(name="judge")
    async def judge_group(group: dict) -> dict:
        return judge(group)

    client = await Client.connect(address)
    print("serving", queue, flush=True)
    await Worker(client, task_queue=queue, activities=[judge_group]).run()


if __name__ == "__main__":
    form = sys.argv[1]
    if form == "exec":
        command()
    elif form == "http":
        serve(int(sys.argv[2]))
    else:
        import asyncio

        asyncio.run(work(sys.argv[2], sys.argv[3]))
