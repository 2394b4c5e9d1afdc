"""NAME: 1 if the completion ends with the answer, else 0.

verl's signature. ground_truth is the column ground_truth, reward_model.ground_truth or answer.

In a recipe:   rewards: [{use: python, file: NAME.py, function: compute_score}]
Try it:        grouse reward test NAME.py --data cases.jsonl
"""


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": 1.0 if solution_str.strip().endswith(str(ground_truth)) else 0.0, "length": len(solution_str)}
