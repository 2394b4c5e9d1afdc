// What follows the vocabulary product: sums of blocks of 1024 ids as
// internal/logprob has them, the gradient of the logits, and kept sets. Logits
// exist for a chunk of rows at a time.
#include "grouse.cuh"

// sums [rows, blocks, 3] = Max, Sum, Dot (logprob.BlockSum) of logits z [rows,
// vocab] times scale; exps, if not null, receives exp(x - Max).
GROUSE_KERNEL(vocab_sums, float* sums, float* exps, const float* z, float scale, i32 vocab) {
  GROUSE_SHARED(float, red, 32);
  int from = blockIdx.x * 1024, to = min(vocab, from + 1024);
  const float* row = z + (i64)blockIdx.y * vocab;
  float top = NEGATIVE_INFINITY;
  for (int i = from + threadIdx.x; i < to; i += blockDim.x) top = fmaxf(top, row[i]);  // a NaN comes out in the sum
  top = block_max(top, red);
  float shift = top * scale, sum = 0, dot = 0;
  for (int i = from + threadIdx.x; i < to; i += blockDim.x) {
    float x = row[i] * scale - shift, e = expf(x);
    if (top == NEGATIVE_INFINITY) e = row[i] == row[i] ? 0.f : row[i];
    sum += e;
    if (e != 0) dot += e * x;
    if (exps) exps[(i64)blockIdx.y * vocab + i] = e;
  }
  sum = block_sum(sum, red);
  dot = block_sum(dot, red);
  if (threadIdx.x == 0) {
    float* out = sums + ((i64)blockIdx.y * gridDim.x + blockIdx.x) * 3;
    out[0] = top == NEGATIVE_INFINITY ? top : shift;
    out[1] = sum;
    out[2] = fminf(0.f, dot);
  }
}

// out[i] = z[i, ids[i]]
GROUSE_KERNEL(target_logits, float* out, const float* z, const i32* ids, i64 n, i32 vocab) {
  GRID_LOOP(i, n) out[i] = z[i * vocab + ids[i]];
}

// dz = coef scale (1[v = target] - p): to half as bfloat16 if it is not null, else
// over the logits. n = rows vocab.
GROUSE_KERNEL(vocab_grad, float* z, u16* half, const float* lse, const float* coef, const i32* ids, float scale, i64 n, i32 vocab) {
  GRID_LOOP(i, n) {
    i64 row = quotient(i, vocab);
    float k = coef[row] * scale;
    float d = -k * expf(z[i] * scale - lse[row]);
    if (i - row * vocab == ids[row]) d += k;
    if (half) half[i] = narrow(d);
    else z[i] = d;
  }
}

// Kept sets: rows[b] of the whole batch, the first of z being row `first`, keeps
// ids[offsets[b]..offsets[b+1]-1].

// out[j] = the logit of ids[j].
GROUSE_KERNEL(kept_logits, float* out, const float* z, const i32* rows, const i32* offsets, const i32* ids, i32 first, i32 vocab) {
  const float* row = z + (i64)(rows[blockIdx.x] - first) * vocab;
  for (int j = offsets[blockIdx.x] + threadIdx.x; j < offsets[blockIdx.x + 1]; j += blockDim.x) out[j] = row[ids[j]];
}

// vocab_grad of rows with a kept set: lse is the set's, what is not in it is 0.
// values is room for the ids.
GROUSE_KERNEL(kept_grad, float* z, u16* half, float* values, const float* lse, const float* coef, const i32* targets, const i32* rows, const i32* offsets, const i32* ids, float scale, i32 first, i32 vocab) {
  int row = rows[blockIdx.x], from = offsets[blockIdx.x], to = offsets[blockIdx.x + 1];
  i64 at = (i64)(row - first) * vocab;
  float k = coef[row] * scale;
  for (int j = from + threadIdx.x; j < to; j += blockDim.x) {
    float d = -k * expf(z[at + ids[j]] * scale - lse[row]);
    values[j] = ids[j] == targets[row] ? d + k : d;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) {
    if (half) half[at + i] = 0;
    else z[at + i] = 0;
  }
  __syncthreads();
  for (int j = from + threadIdx.x; j < to; j += blockDim.x) {
    if (half) half[at + ids[j]] = narrow(values[j]);
    else z[at + ids[j]] = values[j];
  }
}
