"""NAME: 1 if the completion ends with the answer, else 0. A Temporal worker.

    pip install temporalio
    python3 NAME.py                 serves the queue grouse-reward-NAME; --temporal HOST:PORT, --namespace NS

In a recipe:   rewards: [{use: activity, worker: NAME}]

The activity is given a group and returns {"scores": [...]}, one a completion (null: no opinion). What it raises is an
error, tried again up to the recipe's attempts; an ApplicationError of the type timeout, oom or bad_output says which.
"""
import argparse
import asyncio


def score(text, columns):
    return 1.0 if text.strip().endswith(str(columns["answer"])) else 0.0


def answer(group):
    return {"scores": [score(c["text"], group["columns"]) for c in group["completions"]]}


async def main(address, namespace):
    from temporalio import activity
    from temporalio.client import Client
    from temporalio.worker import Worker

    @activity.defn(name="judge")
    async def judge(group: dict) -> dict:
        return answer(group)

    client = await Client.connect(address, namespace=namespace)
    print("serving grouse-reward-NAME", flush=True)
    await Worker(client, task_queue="grouse-reward-NAME", activities=[judge]).run()


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--temporal", default="127.0.0.1:7233")
    p.add_argument("--namespace", default="default")
    a = p.parse_args()
    asyncio.run(main(a.temporal, a.namespace))
