"""Runs a Python reward for grouse: one JSON line in, one out (rewards/jsonapi).

    runner.py FILE FUNCTION STYLE      STYLE: auto, trl, verl

TRL's signature: f(prompts, completions, **columns) -> list of float or None, async too.
verl's:          compute_score(data_source, solution_str, ground_truth, extra_info=None) -> float or {"score": ...}
What the function prints goes to standard error.
"""
import asyncio
import importlib.util
import inspect
import json
import math
import numbers
import os
import sys
import traceback

own = sys._getframe().f_code.co_filename
out = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


def load(path, name):
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec = importlib.util.spec_from_file_location("grouse_user_reward", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        known = sorted(k for k, v in vars(module).items() if callable(v) and not k.startswith("_"))
        raise AttributeError(f"{path} has no function {name!r}, only {', '.join(known) or 'none'}")
    return getattr(module, name)


class BadOutput(Exception):
    pass


def explain(e):
    """What was raised, then where: the frames of the user's code, not of this file."""
    tb = e.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == own:
        tb = tb.tb_next
    where = "".join(traceback.format_tb(tb, limit=-8)) if tb else ""
    return "".join(traceback.format_exception_only(type(e), e)).strip() + ("\n" + where.rstrip() if where else "")


def plain(v):
    """A score as JSON can say it: numpy and torch scalars too."""
    if v is None:
        return None
    if hasattr(v, "item") and not isinstance(v, numbers.Number):
        v = v.item()
    if isinstance(v, bool):
        return float(v)
    if not isinstance(v, numbers.Real):
        raise BadOutput(f"a score is {v!r} of type {type(v).__name__}, not a number")
    v = float(v)
    if math.isnan(v) or math.isinf(v):
        raise BadOutput(f"a score is {v}")
    return v


def finish(result):
    return asyncio.run(result) if inspect.isawaitable(result) else result


def accepted(function, given):
    params = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in params):
        return given
    names = {p.name for p in params}
    return {k: v for k, v in given.items() if k in names}


def trl(function, req):
    n = len(req["completions"])
    texts = [c["text"] for c in req["completions"]]
    if req.get("messages"):
        prompts, completions = [req["messages"]] * n, [[{"role": "assistant", "content": t}] for t in texts]
    else:
        prompts, completions = [req["prompt"]] * n, texts
    given = {k: [v] * n for k, v in (req["columns"] or {}).items() if k not in ("prompts", "completions", "prompt", "completion")}
    given["completion_ids"] = [c["token_ids"] or [] for c in req["completions"]]
    scores = finish(function(prompts=prompts, completions=completions, **accepted(function, given)))
    if isinstance(scores, (str, bytes, dict)) or not hasattr(scores, "__len__"):
        raise BadOutput(f"the function returned {type(scores).__name__}, not a list of scores")
    if len(scores) != n:
        raise BadOutput(f"the function returned {len(scores)} scores for {n} completions")
    return [plain(v) for v in scores]


def verl(function, req):
    columns = req["columns"] or {}
    truth = columns.get("ground_truth")
    if truth is None and isinstance(columns.get("reward_model"), dict):
        truth = columns["reward_model"].get("ground_truth")
    if truth is None:
        truth = columns.get("answer")
    if truth is None:
        raise KeyError("row %s has no column ground_truth, reward_model.ground_truth or answer" % req["row_id"])
    extra = columns.get("extra_info")
    scores = []
    for c in req["completions"]:
        v = finish(function(data_source=columns.get("data_source") or req["domain"], solution_str=c["text"], ground_truth=truth,
                            extra_info=extra if isinstance(extra, dict) else columns))
        if not isinstance(v, dict):
            scores.append(plain(v))
            continue
        if "score" not in v:
            raise BadOutput(f"the function returned a dict without 'score': {sorted(v)}")
        extras = {k: float(x) for k, x in v.items() if k != "score" and isinstance(x, (int, float)) and math.isfinite(x)}
        scores.append({"value": plain(v["score"]), "numbers": extras})
    return scores


def main():
    path, name, style = sys.argv[1:4]
    function = broken = None
    try:
        function = load(path, name)
        if style == "auto":
            style = "verl" if "solution_str" in inspect.signature(function).parameters else "trl"
    except BaseException as e:
        broken = explain(e)
    for line in sys.stdin:
        try:
            if broken:
                answer = {"error": "the file cannot be loaded: " + broken, "kind": "error"}
            else:
                answer = {"scores": (verl if style == "verl" else trl)(function, json.loads(line))}
        except BadOutput as e:
            answer = {"error": str(e), "kind": "bad_output"}
        except MemoryError:
            answer = {"error": "MemoryError: the function ran out of memory", "kind": "oom"}
        except BaseException as e:
            answer = {"error": explain(e), "kind": "error"}
        out.write(json.dumps(answer, allow_nan=False) + "\n")
        out.flush()


main()
