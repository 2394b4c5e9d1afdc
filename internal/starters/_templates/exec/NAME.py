#!/usr/bin/env python3
"""NAME: 1 if the completion ends with the answer, else 0.

A command in any language: it reads a line of JSON for each group and writes one. The answer is
{"scores": [...]}, one a completion (null: no opinion), or {"error": "...", "kind": "error", "retryable": true}.
Standard error goes into error messages. The process may live on, as this one does, or end after its answer.

In a recipe:   rewards: [{use: exec, name: NAME, command: [./NAME.py]}]
Try it:        grouse reward test exec --param 'command=["./NAME.py"]' --data cases.jsonl
"""
import json
import sys


def score(text, columns):
    return 1.0 if text.strip().endswith(str(columns["answer"])) else 0.0


def answer(group):
    return {"scores": [score(c["text"], group["columns"]) for c in group["completions"]]}


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            said = answer(json.loads(line))
        except Exception as e:
            said = {"error": repr(e), "kind": "error"}
        print(json.dumps(said), flush=True)
