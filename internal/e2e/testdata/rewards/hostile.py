"""A reward that goes wrong on some rows, in every way there is."""
import os
import sys
import time


def hostile(completions, answer, **columns):
    case = int(answer[0]) % 14
    n = len(completions)
    if case == 3:
        while True:
            pass
    if case == 4:
        os.abort()
    if case == 5:
        for _ in range(30):
            if os.fork() == 0:
                os.setsid()
                time.sleep(600)
        time.sleep(600)
    if case == 6:
        x = []
        while True:
            x.append(bytearray(10_000_000))
    if case == 7:
        print("x" * 10_000_000)
        sys.stderr.write("y" * 10_000_000)
    if case == 8:
        return [float("nan")] * n
    if case == 9:
        return ["1.0"] * n
    if case == 10:
        return [1.0] * (n + 1)
    if case == 11:
        return {"score": 1}
    if case == 12:
        raise ValueError("cannot judge this")
    if case == 13:
        os._exit(0)
    return [float(len(c) % 5) for c in completions]
