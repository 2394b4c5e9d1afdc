// Operations whose elements do not meet, and the sums over columns and over a
// whole buffer. All are bound by memory: each number is read and written once.
#include "grouse.cuh"

GROUSE_KERNEL(cast_to_bf16, u16* y, const float* x, i64 n) {
  GRID_LOOP(i, n) y[i] = narrow(x[i]);
}

GROUSE_KERNEL(cast_from_bf16, float* y, const u16* x, i64 n) {
  GRID_LOOP(i, n) y[i] = widen(x[i]);
}

GROUSE_KERNEL(add_vectors, float* y, const float* a, const float* b, i64 n) {
  GRID_LOOP(i, n) y[i] = a[i] + b[i];
}

// y [rows, out] += b [out]
GROUSE_KERNEL(add_bias, float* y, const float* b, i64 n, i32 out) {
  GRID_LOOP(i, n) y[i] += b[i - quotient(i, out) * out];
}

GROUSE_DEVICE float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

GROUSE_KERNEL(swiglu, float* y, const float* gate, const float* up, i64 n) {
  GRID_LOOP(i, n) {
    float g = gate[i];
    y[i] = g * sigmoid(g) * up[i];
  }
}

// dgate += dy up d(silu), dup += dy silu(gate)
GROUSE_KERNEL(swiglu_grad, float* dgate, float* dup, const float* dy, const float* gate, const float* up, i64 n) {
  GRID_LOOP(i, n) {
    float g = gate[i], s = sigmoid(g), d = dy[i];
    dgate[i] += d * up[i] * (s * (1.f + g * (1.f - s)));
    dup[i] += d * g * s;
  }
}

// Sums over rows go in two steps of fixed order: rows chunk by chunk into
// partial [chunks, cols], then the chunks.
GROUSE_KERNEL(column_partial, float* partial, const float* x, i32 rows, i32 cols, i32 chunk) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= cols) return;
  int from = blockIdx.y * chunk, to = min(rows, from + chunk);
  float sum = 0;
  for (int r = from; r < to; r++) sum += x[(i64)r * cols + c];
  partial[(i64)blockIdx.y * cols + c] = sum;
}

// y [cols] += the sum of partial's rows
GROUSE_KERNEL(column_finish, float* y, const float* partial, i32 chunks, i32 cols) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= cols) return;
  float sum = 0;
  for (int i = 0; i < chunks; i++) sum += partial[(i64)i * cols + c];
  y[c] += sum;
}

// partial[b] = the sum of the squares of 4096 elements
GROUSE_KERNEL(square_partial, float* partial, const float* x, i64 n) {
  GROUSE_SHARED(float, red, 32);
  i64 from = (i64)blockIdx.x * 4096, to = n < from + 4096 ? n : from + 4096;
  float sum = 0;
  for (i64 i = from + threadIdx.x; i < to; i += blockDim.x) sum += x[i] * x[i];
  sum = block_sum(sum, red);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// sums[b] = the sum of the squares of a block of elements, in order, a block a thread.
// The squares are exact, so all devices add up the same numbers.
GROUSE_KERNEL(block_squares, double* sums, const float* x, i64 n, i32 block) {
  GRID_LOOP(b, (n + block - 1) / block) {
    i64 from = b * block, to = n < from + block ? n : from + block;
    double sum = 0;
    for (i64 i = from; i < to; i++) sum += (double)x[i] * (double)x[i];
    sums[b] = sum;
  }
}

GROUSE_DEVICE float adamw_step(float p, float g, float* m, float* v, float beta1, float one_beta1, float beta2, float one_beta2, float shrink, float rate, float inv_root, float eps) {
  *m = beta1 * *m + one_beta1 * g;
  *v = beta2 * *v + one_beta2 * (g * g);
  return shrink * p - rate * *m / (sqrtf(*v) * inv_root + eps);
}

// AdamW of float32 master weights p. half, if not null, is their bfloat16 copy;
// it is written in the same pass.
GROUSE_KERNEL(adamw, float* p, u16* half, const float* grad, float* m, float* v, i64 n, float scale, float beta1, float one_beta1, float beta2, float one_beta2, float shrink, float rate, float inv_root, float eps) {
  GRID_LOOP(i, n) {
    float w = adamw_step(p[i], scale * grad[i], m + i, v + i, beta1, one_beta1, beta2, one_beta2, shrink, rate, inv_root, eps);
    p[i] = w;
    if (half) half[i] = narrow(w);
  }
}

// The same with moments in bfloat16: widened, updated in float32, rounded back.
// The weight is updated with the moments before they are rounded.
GROUSE_KERNEL(adamw_bf16, float* p, u16* half, const float* grad, u16* m, u16* v, i64 n, float scale, float beta1, float one_beta1, float beta2, float one_beta2, float shrink, float rate, float inv_root, float eps) {
  GRID_LOOP(i, n) {
    float mi = widen(m[i]), vi = widen(v[i]);
    float w = adamw_step(p[i], scale * grad[i], &mi, &vi, beta1, one_beta1, beta2, one_beta2, shrink, rate, inv_root, eps);
    m[i] = narrow(mi);
    v[i] = narrow(vi);
    p[i] = w;
    if (half) half[i] = narrow(w);
  }
}

// Philox4x32-10 (internal/rng): four random words of a counter under a key.
GROUSE_DEVICE void philox(u32 (&x)[4], u32 k0, u32 k1) {
  GROUSE_UNROLL
  for (int round = 0; round < 10; round++) {
    unsigned long long a = 0xD2511F53ull * x[0], b = 0xCD9E8D57ull * x[2];
    u32 x1 = x[1], x3 = x[3];
    x[0] = (u32)(b >> 32) ^ x1 ^ k0;
    x[1] = (u32)b;
    x[2] = (u32)(a >> 32) ^ x3 ^ k1;
    x[3] = (u32)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// One of the two bfloat16 numbers around f, with the probability that makes f the
// mean: the bits that are cut off are compared with 16 random ones.
GROUSE_DEVICE u16 narrow_at_random(float f, u32 noise) {
  u32 u = to_bits(f);
  if ((u & 0x7f800000u) == 0x7f800000u) return narrow(f);
  return (u16)((u + (noise & 0xffffu)) >> 16);
}

// AdamW of weights that are bfloat16 and have no float32 masters. Moments are
// bfloat16 if short_moments. Weight i takes word i mod 4 of counter {i / 4, parameter,
// update}; p begins with weight first, a multiple of 4.
GROUSE_KERNEL(adamw_rounded, u16* p, const float* grad, void* m, void* v, i32 short_moments, i64 n, float scale, float beta1, float one_beta1, float beta2, float one_beta2, float shrink, float rate, float inv_root, float eps, i32 key0, i32 key1, i32 parameter, i64 update, i64 first) {
  GRID_LOOP(four, (n + 3) / 4) {
    u32 noise[4] = {(u32)(four + first / 4), (u32)parameter, (u32)update, (u32)((unsigned long long)update >> 32)};
    philox(noise, (u32)key0, (u32)key1);
    GROUSE_UNROLL
    for (int j = 0; j < 4; j++) {
      i64 i = 4 * four + j;
      if (i >= n) break;
      float mi = short_moments ? widen(((u16*)m)[i]) : ((float*)m)[i], vi = short_moments ? widen(((u16*)v)[i]) : ((float*)v)[i];
      float w = adamw_step(widen(p[i]), scale * grad[i], &mi, &vi, beta1, one_beta1, beta2, one_beta2, shrink, rate, inv_root, eps);
      if (short_moments) {
        ((u16*)m)[i] = narrow(mi);
        ((u16*)v)[i] = narrow(vi);
      } else {
        ((float*)m)[i] = mi;
        ((float*)v)[i] = vi;
      }
      p[i] = narrow_at_random(w, noise[j]);
    }
  }
}
