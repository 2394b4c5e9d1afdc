"""NAME: 1 if the completion ends with the answer, else 0.

TRL's signature: the columns of the data row come as keyword arguments, one value a completion.
None means no opinion; raise where a completion cannot be judged (never return 0 for that).

In a recipe:   rewards: [{use: python, file: NAME.py, function: NAME}]
Try it:        grouse reward test NAME.py --data cases.jsonl
"""


def NAME(completions, answer, **columns):
    return [1.0 if _text(c).strip().endswith(str(a)) else 0.0 for c, a in zip(completions, answer)]


def _text(completion):
    # With a chat template a completion is a list of messages.
    return completion if isinstance(completion, str) else completion[0]["content"]
