"""A benchmark of compare.py in TRL: one JSON line a step, as BENCH/recipe.yaml has it in grouse."""
import argparse, glob, json, os, tempfile

ap = argparse.ArgumentParser()
ap.add_argument("bench", choices=["add100", "arithmetic"])
ap.add_argument("--seed", type=int, default=0)
ap.add_argument("--steps", type=int, required=True)
ap.add_argument("--model", required=True)
ap.add_argument("--order", help="a grouse run's folder of rollouts: its prompts in its order")
args = ap.parse_args()
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

here = os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(os.cpu_count())
tokenizer = AutoTokenizer.from_pretrained(args.model)
model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
rows = [json.loads(line) for line in open(f"{here}/{args.bench}/prompts.jsonl")]
rewards = []


def exact(prompts, completions, completion_ids, answer, **_):
    return [float(c == a and len(i) == 3) for c, a, i in zip(completions, answer, completion_ids)]


def math(prompts, completions, answer, **_):
    from math_verify import parse, verify
    return [float(verify(parse(a), parse(c))) for c, a in zip(completions, answer)]


def reward(*a, **kw):
    r = (exact if args.bench == "add100" else math)(*a, **kw)
    rewards.append(sum(r) / len(r))
    return r


common = dict(
    output_dir=tempfile.mkdtemp(), seed=args.seed, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
    num_generations=8, temperature=1.0, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, adam_beta1=0.9, adam_beta2=0.999, max_grad_norm=1.0,
    beta=0.0, epsilon=0.2, num_iterations=1, scale_rewards="group", gradient_checkpointing=False)
updates = 1
if args.bench == "add100":
    config = GRPOConfig(max_steps=args.steps, per_device_train_batch_size=200, max_completion_length=3, top_p=1.0, top_k=0, learning_rate=1e-4, loss_type="dapo",
                        shuffle_dataset=True, **common)
else:
    # 96 completions a step in two updates of 48, each by three passes of 16.
    updates = 2
    config = GRPOConfig(max_steps=updates * args.steps, per_device_train_batch_size=16, gradient_accumulation_steps=3, steps_per_generation=6, max_completion_length=32,
                        top_p=0.95, top_k=64, learning_rate=3e-5, loss_type="grpo", off_policy_mask_threshold=0.1, shuffle_dataset=False, **common)
    for r in rows:
        r["prompt"] = tokenizer.apply_chat_template([{"role": "user", "content": r["prompt"]}], tokenize=False, add_generation_prompt=True)
if args.order:
    import pyarrow.parquet as pq
    by_id, order = {r["id"]: r for r in rows}, []
    for path in sorted(glob.glob(f"{args.order}/*.parquet")):
        order += dict.fromkeys(pq.read_table(path, columns=["row_id"])["row_id"].to_pylist())
    rows = [by_id[i] for i in order]


class Lines(TrainerCallback):
    def on_step_end(self, a, state, control, **_):
        if state.global_step % updates == 0:
            print(json.dumps({"step": state.global_step // updates, "reward": rewards[-1]}), flush=True)


GRPOTrainer(model=model, processing_class=tokenizer, reward_funcs=reward, args=config, train_dataset=Dataset.from_list(rows), callbacks=[Lines()]).train()
