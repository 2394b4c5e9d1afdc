"""The benchmark add100 in TRL: one JSON line a step, as add100/recipe.yaml has it in grouse."""
import argparse, json, os, tempfile

ap = argparse.ArgumentParser()
ap.add_argument("--seed", type=int, default=0)
ap.add_argument("--steps", type=int, default=400)
args = ap.parse_args()
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "add100")
torch.set_num_threads(os.cpu_count())
tokenizer = AutoTokenizer.from_pretrained(f"{here}/model")
model = AutoModelForCausalLM.from_pretrained(f"{here}/model", dtype=torch.float32)
rows = [json.loads(line) for line in open(f"{here}/prompts.jsonl")]
rewards = []


def exact(prompts, completions, completion_ids, answer, **_):
    r = [float(c == a and len(i) == 3) for c, a, i in zip(completions, answer, completion_ids)]
    rewards.append(sum(r) / len(r))
    return r


class Lines(TrainerCallback):
    def on_step_end(self, a, state, control, **_):
        print(json.dumps({"step": state.global_step, "reward": rewards[-1]}), flush=True)


config = GRPOConfig(
    output_dir=tempfile.mkdtemp(), max_steps=args.steps, seed=args.seed, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_strategy="no",
    disable_tqdm=True, per_device_train_batch_size=200, num_generations=8, max_completion_length=3, temperature=1.0, top_p=1.0, top_k=0, learning_rate=1e-4,
    lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, adam_beta1=0.9, adam_beta2=0.999, max_grad_norm=1.0, beta=0.0, epsilon=0.2, num_iterations=1,
    loss_type="dapo", scale_rewards="group", gradient_checkpointing=False, shuffle_dataset=True)
GRPOTrainer(model=model, processing_class=tokenizer, reward_funcs=exact, args=config, train_dataset=Dataset.from_list(rows), callbacks=[Lines()]).train()
