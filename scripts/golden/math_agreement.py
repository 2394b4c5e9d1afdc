"""math-verify's verdicts on rewards/math/testdata/corpus.txt.

    pip install 'math-verify==0.9.0' 'latex2sympy2_extended==1.11.0' 'sympy==1.14.0' 'antlr4-python3-runtime==4.13.2'
    python scripts/golden/math_agreement.py                  writes rewards/math/testdata/math_verify.txt
    python scripts/golden/math_agreement.py --time FILE      milliseconds a pair on FILE, one core

The output has a line a pair, in the corpus's order: 1 the same, 0 not, x no verdict (an error or a timeout).
FILE has JSON lines {"completion": ..., "answer": ...}; so has the input of `grouse reward test math --data FILE --json`.
Both answers are given in a box, as completions give them.
"""

import json
import os
import sys
import time

from math_verify import parse, verify

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "..", "rewards", "math", "testdata")


def corpus():
    reference = None
    for line in open(os.path.join(DATA, "corpus.txt"), encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith((" =", " !")):
            yield reference, line[3:], line[1] == "="
        elif line and line[0] != "#" and not (line[0] == "[" and line[-1] == "]" and not set(line) & set(",0123456789")):
            reference = line


def verdict(reference, completion):
    try:
        gold = parse("\\boxed{" + reference + "}", parsing_timeout=5)
        said = parse(completion, parsing_timeout=5)
        return "1" if verify(gold, said, timeout_seconds=5) else "0"
    except BaseException:  # its timeout is none of Exception
        return "x"


def main():
    if sys.argv[1:2] == ["--time"]:
        pairs = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
        verdict("1", "\\boxed{1}")  # the first call builds the parser
        began = time.perf_counter()
        right = sum(verdict(p["answer"], p["completion"]) == "1" for p in pairs)
        print(f"{len(pairs)} pairs, {right} the same, {(time.perf_counter() - began) * 1000 / len(pairs):.3f} ms a pair")
        return
    right = n = 0
    with open(os.path.join(DATA, "math_verify.txt"), "w", encoding="utf-8") as out:
        for reference, answer, same in corpus():
            v = verdict(reference, "\\boxed{" + answer + "}")
            out.write(v + "\n")
            n += 1
            right += v == ("1" if same else "0")
    print(f"{n} pairs, math-verify is right on {right}")


main()
