"""Rewards as users have them, unchanged."""
import asyncio


def accuracy(prompts, completions, answer, **kwargs):
    return [1.0 if c.strip() == a else 0.0 for c, a in zip(completions, answer)]


def chat(prompts, completions, **kwargs):
    return [float(len(p)) + float(c[0]["role"] == "assistant") for p, c in zip(prompts, completions)]


def some_opinion(completions, **kwargs):
    return [None if "?" in c else 0.5 for c in completions]


def narrow(prompts, completions):
    return [len(c) for c in completions]


async def slow(completions, **kwargs):
    await asyncio.sleep(0.01)
    return [True for _ in completions]


def lengths(completions, completion_ids, **kwargs):
    return [len(ids) for ids in completion_ids]


def noisy(completions, **kwargs):
    print("x" * 10_000_000)
    return [1.0 for _ in completions]


calls = 0


def counting(completions, **kwargs):
    global calls
    calls += 1
    return [calls for _ in completions]


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": float(solution_str == ground_truth), "length": len(solution_str)}


def plain_verl(data_source, solution_str, ground_truth, extra_info=None):
    return solution_str == ground_truth
