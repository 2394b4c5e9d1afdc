"""What a user would run instead of grouse, one measurement a process: prints a JSON line as `grouse bench` does.

usage: peers.py matmul | generate | train | llama | read  [--model FOLDER or .gguf] [--batch 16] ...
"""
import argparse, json, os, resource, statistics, time

ap = argparse.ArgumentParser()
ap.add_argument("what", choices=["matmul", "generate", "train", "llama", "read"])
ap.add_argument("--model")
ap.add_argument("--batch", type=int, default=16)
ap.add_argument("--prompt", type=int, default=32)
ap.add_argument("--new", type=int, default=64)
ap.add_argument("--seq", type=int, default=128)
ap.add_argument("--repeat", type=int, default=3)
ap.add_argument("--threads", type=int, default=os.cpu_count())
args = ap.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def median(f, n, warm=1):
    seconds = []
    for i in range(n + warm):
        t = time.perf_counter()
        f()
        seconds.append(time.perf_counter() - t)
    return statistics.median(seconds[warm:])


def show(**kw):
    print(json.dumps({**kw, "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def load():
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    return torch, AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)


if args.what == "matmul":
    import torch
    torch.set_num_threads(args.threads)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    show(gflops=2 * 1024**3 / median(lambda: a @ b, 31, 5) / 1e9)
elif args.what == "read":
    import torch
    torch.set_num_threads(args.threads)
    a = torch.ones(1 << 28)
    show(gb_per_s=4 * a.numel() / median(a.sum, 9) / 1e9)
elif args.what == "generate":
    torch, model = load()
    ids = torch.randint(1000, 40000, (args.batch, args.prompt))
    def go():
        with torch.no_grad():
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                                 min_new_tokens=args.new, max_new_tokens=args.new, pad_token_id=0)
        assert out.shape[1] == args.prompt + args.new
    show(tokens_per_s=args.batch * args.new / median(go, args.repeat))
elif args.what == "train":
    torch, model = load()
    model.train()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-5)
    ids = torch.randint(1000, 40000, (args.batch, args.seq))
    def go():
        model(input_ids=ids, labels=ids).loss.backward()
        opt.step()
        opt.zero_grad(set_to_none=True)
    show(tokens_per_s=args.batch * args.seq / median(go, args.repeat))
else:
    import llama_cpp
    lm = llama_cpp.Llama(args.model, n_ctx=512, n_threads=args.threads, n_threads_batch=args.threads, verbose=False)
    ids = list(range(1000, 1000 + args.prompt))
    def go():
        lm.reset()
        lm.eval(ids)
        for _ in range(args.new):
            lm.eval([lm.sample(top_k=0, top_p=1.0, min_p=0.0, temp=1.0, repeat_penalty=1.0)])
    show(tokens_per_s=args.new / median(go, args.repeat))
