"""Rewards that do everything wrong."""
import os
import subprocess
import sys
import time


def hang(completions, **kwargs):
    while True:
        pass


def children(completions, **kwargs):
    marker = kwargs["marker"][0]
    # one in our group, one in a session of its own, one that forks again
    subprocess.Popen([sys.executable, "-c", f"import time; open({marker!r} + '1', 'w'); time.sleep(60)"])
    subprocess.Popen([sys.executable, "-c", f"import time; open({marker!r} + '2', 'w'); time.sleep(60)"], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open(marker + "3", "w")
            time.sleep(60)
        os._exit(0)
    time.sleep(60)


def fork_bomb(completions, **kwargs):
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
            os._exit(0)
    time.sleep(60)


def crash(completions, **kwargs):
    os.abort()


def leave(completions, **kwargs):
    os._exit(0)


def leave_politely(completions, **kwargs):
    sys.exit(3)


def memory(completions, **kwargs):
    x = []
    while True:
        x.append(bytearray(10_000_000))


def not_a_number(completions, **kwargs):
    return [float("nan") for _ in completions]


def a_string(completions, **kwargs):
    return "1.0"


def strings(completions, **kwargs):
    return ["1.0" for _ in completions]


def too_many(completions, **kwargs):
    return [1.0] * (len(completions) + 1)


def nothing(completions, **kwargs):
    pass


def raises(completions, **kwargs):
    raise ValueError("column is empty")


def writes_to_the_protocol(completions, **kwargs):
    os.write(1, b'{"scores": [9, 9]}\n')
    return [0.0 for _ in completions]


def needs_more(prompts, completions, gold):
    return [1.0 for _ in completions]
