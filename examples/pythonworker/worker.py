"""A reward in Python as a Temporal worker: the run's processes need not know it.

    pip install temporalio
    python3 examples/pythonworker/worker.py --temporal 127.0.0.1:7233

In the recipe:   rewards: [{use: activity, worker: brevity}]

The activity `judge` on the queue grouse-reward-brevity is given a group:

    {"version": 1, "row_id": "...", "domain": "...", "prompt": "...", "columns": {...},
     "completions": [{"index": 0, "text": "...", "thinking": "...", "answer": "...", "token_ids": [...], "finish": "stop"}]}

and returns {"scores": [...]}, one a completion: a number, None for no opinion, or
{"value": 1, "correct": True, "numbers": {"words": 3}, "explanation": "..."}. What it raises is an error, never a
score of 0, and is tried again as often as the recipe's `attempts` say. As many workers as you like may run, on any
machine; one that is killed is missed by nobody: `heartbeat_s` in the recipe says how soon its work goes to another.
"""
import argparse
import asyncio
import signal

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

QUEUE = "grouse-reward-brevity"
LIMIT = 50  # words


def score(answer: str) -> dict:
    words = len(answer.split())
    return {"value": max(0.0, 1 - max(words - LIMIT, 0) / LIMIT), "numbers": {"words": words}, "explanation": f"{words} words of {LIMIT}"}


@activity.defn(name="judge")
async def judge(group: dict) -> dict:
    if group["version"] != 1:
        raise ApplicationError(f"version {group['version']} of the request is unknown", type="bad_output", non_retryable=True)
    return {"scores": [score(c["answer"]) for c in group["completions"]]}


async def main(address: str, namespace: str) -> None:
    client = await Client.connect(address, namespace=namespace)
    stop = asyncio.Event()
    for s in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(s, stop.set)
    async with Worker(client, task_queue=QUEUE, activities=[judge]):
        print("serving", QUEUE, flush=True)
        await stop.wait()


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--temporal", default="127.0.0.1:7233")
    p.add_argument("--namespace", default="default")
    a = p.parse_args()
    asyncio.run(main(a.temporal, a.namespace))
