"""torch's side of scripts/cuda/check.sh: a Qwen3 in plain torch, no transformers.

  gpucheck.py parity MODEL GROUSE.safetensors    compares grouse's numbers
  gpucheck.py speed SHAPE...                     JSON lines as `gpucheck speed` prints

The device is the GPU, or the processor with GPUCHECK_DEVICE=cpu.
"""
import json
import os
import struct
import sys
import time

import torch
import torch.nn.functional as F

DEVICE = os.environ.get("GPUCHECK_DEVICE", "cuda")
SHAPES = {  # hidden, inner, layers, heads, kv heads, head dim, vocabulary, tied: as in main.go
    "tiny": (64, 160, 2, 4, 2, 16, 512, True),
    "0.6b": (1024, 3072, 28, 16, 8, 128, 151936, True),
    "1.7b": (2048, 6144, 28, 16, 8, 128, 151936, True),
    "8b": (4096, 12288, 36, 32, 8, 128, 151936, False),
}


def read_safetensors(path):
    kinds = {"F32": torch.float32, "BF16": torch.bfloat16}
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(n))
        body = bytearray(f.read())
    out = {}
    for name, t in header.items():
        if name != "__metadata__":
            lo, hi = t["data_offsets"]
            out[name] = torch.frombuffer(body, dtype=kinds[t["dtype"]], count=(hi - lo) // kinds[t["dtype"]].itemsize, offset=lo).view(t["shape"])
    return out, header.get("__metadata__", {})


class Qwen3(torch.nn.Module):
    def __init__(self, shape, dtype):
        super().__init__()
        self.shape = shape
        d, inner, layers, heads, kv, hd, vocab, tied = shape
        w = lambda *s: torch.nn.Parameter((torch.empty(*s, device=DEVICE).uniform_(-0.0346, 0.0346) if len(s) > 1 else torch.ones(*s, device=DEVICE)).to(dtype))
        self.w = torch.nn.ParameterDict()
        self.names = {}

        def add(name, *s):
            key = name.replace(".", "/")
            self.w[key] = w(*s)
            self.names[name] = key

        add("model.embed_tokens.weight", vocab, d)
        for i in range(layers):
            p = f"model.layers.{i}."
            add(p + "input_layernorm.weight", d)
            add(p + "self_attn.q_proj.weight", heads * hd, d)
            add(p + "self_attn.k_proj.weight", kv * hd, d)
            add(p + "self_attn.v_proj.weight", kv * hd, d)
            add(p + "self_attn.o_proj.weight", d, heads * hd)
            add(p + "self_attn.q_norm.weight", hd)
            add(p + "self_attn.k_norm.weight", hd)
            add(p + "post_attention_layernorm.weight", d)
            add(p + "mlp.gate_proj.weight", inner, d)
            add(p + "mlp.up_proj.weight", inner, d)
            add(p + "mlp.down_proj.weight", d, inner)
        add("model.norm.weight", d)
        if not tied:
            add("lm_head.weight", vocab, d)
        self.inv = 1.0 / (1e6 ** (torch.arange(0, hd, 2, device=DEVICE).float() / hd))

    def get(self, name):
        return self.w[self.names[name]]

    def load(self, tensors):
        with torch.no_grad():
            for name in self.names:
                self.get(name).copy_(tensors[name])

    @staticmethod
    def norm(x, w):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * w

    def block(self, i, x, cos, sin):
        d, inner, layers, heads, kv, hd, vocab, tied = self.shape
        p = f"model.layers.{i}."
        b, t, _ = x.shape
        h = self.norm(x, self.get(p + "input_layernorm.weight"))
        q = self.norm((h @ self.get(p + "self_attn.q_proj.weight").T).view(b, t, heads, hd), self.get(p + "self_attn.q_norm.weight"))
        k = self.norm((h @ self.get(p + "self_attn.k_proj.weight").T).view(b, t, kv, hd), self.get(p + "self_attn.k_norm.weight"))
        v = (h @ self.get(p + "self_attn.v_proj.weight").T).view(b, t, kv, hd)
        turn = lambda z: z * cos + torch.cat((-z[..., hd // 2 :], z[..., : hd // 2]), -1) * sin
        q, k = turn(q), turn(k)
        o = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True, enable_gqa=True)
        x = x + o.transpose(1, 2).reshape(b, t, heads * hd) @ self.get(p + "self_attn.o_proj.weight").T
        h = self.norm(x, self.get(p + "post_attention_layernorm.weight"))
        h = F.silu(h @ self.get(p + "mlp.gate_proj.weight").T) * (h @ self.get(p + "mlp.up_proj.weight").T)
        return x + h @ self.get(p + "mlp.down_proj.weight").T

    def forward(self, ids):
        x = F.embedding(ids, self.get("model.embed_tokens.weight"))
        angle = torch.arange(ids.shape[1], device=ids.device).float()[:, None] * self.inv
        angle = torch.cat((angle, angle), -1)[None, :, None]
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for i in range(self.shape[2]):
            x = self.block(i, x, cos, sin)
        x = self.norm(x, self.get("model.norm.weight"))
        return x @ self.get("model.embed_tokens.weight" if self.shape[7] else "lm_head.weight").T

    def logprobs(self, ids, targets):
        # Sequence by sequence, so that no more logits exist than must.
        out = [torch.log_softmax(self(i[None]).float(), -1).gather(-1, t[None, :, None])[..., 0] for i, t in zip(ids, targets)]
        return torch.cat(out)


def parity(model_dir, path):
    theirs, meta = read_safetensors(path)
    weights, _ = read_safetensors(os.path.join(model_dir, "model.safetensors"))
    with open(os.path.join(model_dir, "config.json")) as f:
        c = json.load(f)
    shape = (c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["vocab_size"], c["tie_word_embeddings"])
    ids, targets = theirs["ids"].long().to(DEVICE), theirs["targets"].long().to(DEVICE)
    grads = [n for n in theirs if n.startswith("grad.")]
    results = {}
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    for dtype in (torch.float32, torch.bfloat16):
        m = Qwen3(shape, dtype)
        m.load(weights)
        lp = m.logprobs(ids, targets)
        lp.mean().backward()
        results[dtype] = {"logprobs": lp.detach().float().cpu()} | {n: m.get(n[5:]).grad.float().cpu() for n in grads}
        del m, lp
    exact, half = results[torch.float32], results[torch.bfloat16]
    bad = 0
    print(f"distance to torch in float32 (root mean square, by that of the numbers), {meta.get('device')}, torch {torch.__version__}")
    print(f"{'':58} {'grouse':>10} {'torch bf16':>10} {'ratio':>7}")
    for name in ["logprobs"] + grads:
        size = exact[name].pow(2).mean().sqrt().item()
        ours = (theirs[name] - exact[name]).pow(2).mean().sqrt().item() / size
        torchs = (half[name] - exact[name]).pow(2).mean().sqrt().item() / size
        # grouse keeps activations in float32, so it should be nearer; 1.5 allows for luck.
        ok = ours <= 1.5 * torchs
        bad += not ok
        print(f"{name:58} {ours:10.2e} {torchs:10.2e} {ours / max(torchs, 1e-12):7.2f} {'' if ok else 'TOO FAR'}")
    if bad:
        sys.exit(f"{bad} of {1 + len(grads)} are further from float32 than 1.5 times torch's own bfloat16")


def flops(shape, seq):
    d, inner, layers, heads, kv, hd, vocab, tied = shape
    products = layers * (hd * d * (2 * heads + 2 * kv) + 3 * d * inner) + vocab * d
    return 6 * products + 6 * layers * heads * hd * seq


def timed(n, work):
    sync = torch.cuda.synchronize if DEVICE == "cuda" else lambda: None
    out = []
    for i in range(n + 2):  # two to warm up: the second compiles what the first did not
        sync()
        began = time.perf_counter()
        work()
        sync()
        if i > 1:
            out.append(time.perf_counter() - began)
    return out


def speed(name):
    shape = SHAPES[name]
    batch, seq = (2, 32) if name == "tiny" else (4, 4096)
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    for who in ("torch eager", "torch compiled"):
        m = Qwen3(shape, torch.bfloat16)
        optimizer = torch.optim.AdamW(m.parameters(), lr=1e-6, fused=DEVICE == "cuda")
        ids = torch.randint(0, shape[6], (batch, seq + 1), device=DEVICE)
        loss = lambda i: F.cross_entropy(m(i[:, :-1])[0].float(), i[0, 1:])
        if who == "torch compiled":
            loss = torch.compile(loss)

        def step():
            for row in ids:  # as grouse: one sequence at a time
                (loss(row[None]) / batch).backward()
            torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        seconds = timed(3, step)
        rate = batch * seq / min(seconds)
        print(json.dumps({"who": who, "what": "train", "shape": name, "device": device, "batch": batch, "seq": seq, "tokens_per_s": rate, "flops_per_s": rate * flops(shape, seq), "seconds": seconds}), flush=True)
        del m, optimizer, loss
        if DEVICE == "cuda":
            torch.cuda.empty_cache()
    try:
        from transformers import Qwen3Config, Qwen3ForCausalLM
    except ImportError:
        print(f"gpucheck.py: generation by transformers NOT RUN for {name}: it is not installed", file=sys.stderr)
        return
    d, inner, layers, heads, kv, hd, vocab, tied = shape
    batch, prompt, new = (8, 8, 8) if name == "tiny" else (256, 128, 128)
    c = Qwen3Config(hidden_size=d, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, head_dim=hd, vocab_size=vocab, tie_word_embeddings=tied, eos_token_id=None)
    m = Qwen3ForCausalLM(c).to(DEVICE, torch.bfloat16).eval()
    ids = torch.randint(0, vocab, (batch, prompt), device=DEVICE)
    with torch.inference_mode():
        seconds = timed(1, lambda: m.generate(ids, max_new_tokens=new, min_new_tokens=new, do_sample=True, top_k=0, pad_token_id=0))
    print(json.dumps({"who": "transformers", "what": "generate", "shape": name, "device": device, "batch": batch, "prompt": prompt, "new": new, "tokens_per_s": batch * new / min(seconds), "seconds": seconds}), flush=True)


if sys.argv[1] == "parity":
    parity(sys.argv[2], sys.argv[3])
else:
    for shape_name in sys.argv[2:]:
        speed(shape_name)
