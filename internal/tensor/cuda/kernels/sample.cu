// Drawing tokens where the logits are: what rollout/sampling does with a row, in
// float64, with the same operations in the same order, so that the same logits give
// the same token. Sums that have an order are one thread's; everything around them is
// shared out.
#include "grouse.cuh"

// 2^(j/32), rounded to nearest.
GROUSE_CONSTANT double exp2_by_32[32] = {
    0x1.0000000000000p+0, 0x1.059b0d3158574p+0, 0x1.0b5586cf9890fp+0, 0x1.11301d0125b51p+0,
    0x1.172b83c7d517bp+0, 0x1.1d4873168b9aap+0, 0x1.2387a6e756238p+0, 0x1.29e9df51fdee1p+0,
    0x1.306fe0a31b715p+0, 0x1.371a7373aa9cbp+0, 0x1.3dea64c123422p+0, 0x1.44e086061892dp+0,
    0x1.4bfdad5362a27p+0, 0x1.5342b569d4f82p+0, 0x1.5ab07dd485429p+0, 0x1.6247eb03a5585p+0,
    0x1.6a09e667f3bcdp+0, 0x1.71f75e8ec5f74p+0, 0x1.7a11473eb0187p+0, 0x1.82589994cce13p+0,
    0x1.8ace5422aa0dbp+0, 0x1.93737b0cdc5e5p+0, 0x1.9c49182a3f090p+0, 0x1.a5503b23e255dp+0,
    0x1.ae89f995ad3adp+0, 0x1.b7f76f2fb5e47p+0, 0x1.c199bdd85529cp+0, 0x1.cb720dcef9069p+0,
    0x1.d5818dcfba487p+0, 0x1.dfc97337b9b5fp+0, 0x1.ea4afa2a490dap+0, 0x1.f50765b6e4540p+0,
};

GROUSE_DEVICE double power_of_two(int e) { return double_from_bits((unsigned long long)(e + 1023) << 52); }

// e^x for x <= 0, bit for bit internal/rng's Exp: see there.
GROUSE_DEVICE double exp_below(double x) {
  if (!(x >= -745.1332191019412)) return x != x ? x : 0.;
  double n = rint(x * 0x1.71547652b82fep+5);
  double r = (x - n * 0x1.62e42f8000000p-6) - n * 0x1.be8e7bcd5e4f2p-32;
  double p = r * (1.0 / 5040) + 1.0 / 720;
  p = r * p + 1.0 / 120;
  p = r * p + 1.0 / 24;
  p = r * p + 1.0 / 6;
  p = r * p + 0.5;
  p = r + r * r * p;
  int i = (int)n;
  double t = exp2_by_32[i & 31];
  t = t + t * p;
  int e = i >> 5;
  if (e >= -1022) return t * power_of_two(e);
  return t * power_of_two(e + 200) * power_of_two(-200);  // subnormal: rounded once
}

// masses [rows, blocks]: exps of each 1024 ids added up in ascending id. A block each.
GROUSE_KERNEL(block_masses, double* masses, const float* exps, i32 vocab) {
  GROUSE_SHARED(float, part, 1024);
  int from = blockIdx.x * 1024, n = min(1024, vocab - from);
  const float* row = exps + (i64)blockIdx.y * vocab + from;
  for (int i = threadIdx.x; i < n; i += blockDim.x) part[i] = row[i];
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (int i = 0; i < n; i++) sum += (double)part[i];
  masses[(i64)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// A token of the whole vocabulary for draw b, of row rows[b] of the chunk: the first
// id whose cumulative mass exceeds uniform[b] times the total. weighted [draws, blocks]
// is room for the blocks' masses relative to the largest logit.
GROUSE_KERNEL(draw_full, i32* tokens, float* logits, double* weighted, const float* z, const float* exps, const float* sums, const double* masses, const i32* rows, const float* uniform, i32 vocab, i32 blocks) {
  GROUSE_SHARED(float, red, 32);
  GROUSE_SHARED(float, part, 1024);
  GROUSE_SHARED(double, before, 1);
  GROUSE_SHARED(double, limit, 1);
  GROUSE_SHARED(int, found, 1);
  i64 row = rows[blockIdx.x];
  const float* sum = sums + row * blocks * 3;
  double* mine = weighted + (i64)blockIdx.x * blocks;
  float top = NEGATIVE_INFINITY;
  for (int b = threadIdx.x; b < blocks; b += blockDim.x) top = fmaxf(top, sum[3 * b]);
  top = block_max(top, red);
  for (int b = threadIdx.x; b < blocks; b += blockDim.x) {
    double w = sum[3 * b + 1] == 0 ? 0. : exp_below((double)sum[3 * b] - (double)top);
    mine[b] = w * masses[row * blocks + b];
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0, at = 0;
    for (int b = 0; b < blocks; b++) total += mine[b];
    *limit = (double)uniform[blockIdx.x] * total;
    int b = 0;
    for (; b < blocks - 1; b++) {
      double after = at + mine[b];
      if (after > *limit) break;
      at = after;
    }
    *found = b;
    *before = at;
  }
  __syncthreads();
  int from = *found * 1024, n = min(1024, vocab - from);
  for (int i = threadIdx.x; i < n; i += blockDim.x) part[i] = exps[row * vocab + from + i];
  __syncthreads();
  if (threadIdx.x != 0) return;
  double w = exp_below((double)sum[3 * *found] - (double)top), mass = 0;
  int token = from;
  for (int i = 0; i < n; i++) {
    if (part[i] == 0) continue;
    mass += (double)part[i];
    token = from + i;
    if (*before + w * mass > *limit) break;
  }
  tokens[blockIdx.x] = token;
  logits[blockIdx.x] = z[row * vocab + token];
}

// Tokens of row b from its k <= 1024 largest logits, whose ids are list [rows, k],
// ascending: draws first[b]..first[b+1]-1. filters [2] is top-p (1: off) and min-p.
// The kept set goes to kept [rows, k], counts [rows] of it; its mass relative to its
// largest logit, tops [rows], to masses [rows].
GROUSE_KERNEL(draw_kept, i32* tokens, float* logits, float* tops, double* masses, i32* counts, i32* kept, const i32* list, const float* z, const float* uniform, const i32* first, const double* filters, float temperature, i32 k, i32 vocab) {
  GROUSE_SHARED(double, exps, 1024);   // by rank
  GROUSE_SHARED(double, share, 1024);  // by rank: exps by their sum
  GROUSE_SHARED(float, value, 1024);
  GROUSE_SHARED(int, rank, 1024);   // of the candidates: in descending order, ties to the lower id
  GROUSE_SHARED(int, order, 1024);  // the candidate of each rank, then those that are kept
  GROUSE_SHARED(double, total, 1);
  GROUSE_SHARED(int, keep, 1);
  const i32* ids = list + (i64)blockIdx.x * k;
  double tau = temperature;
  for (int i = threadIdx.x; i < k; i += blockDim.x) value[i] = z[(i64)blockIdx.x * vocab + ids[i]];
  __syncthreads();
  for (int i = threadIdx.x; i < k; i += blockDim.x) {
    int r = 0;
    for (int j = 0; j < k; j++) r += value[j] > value[i] || (value[j] == value[i] && j < i);
    rank[i] = r;
    order[r] = i;
  }
  __syncthreads();
  double top = (double)value[order[0]] / tau;
  for (int r = threadIdx.x; r < k; r += blockDim.x) exps[r] = exp_below((double)value[order[r]] / tau - top);
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0;
    for (int r = 0; r < k; r++) sum += exps[r];
    *total = sum;
  }
  __syncthreads();
  for (int r = threadIdx.x; r < k; r += blockDim.x) share[r] = exps[r] / *total;
  __syncthreads();
  if (threadIdx.x == 0) {
    double top_p = filters[0], least = filters[1] * (1 / *total), before = 0;
    int n = 0;
    for (; n < k; n++) {
      double p = share[n];
      if (exps[n] == 0 || (n > 0 && top_p < 1 && before >= top_p) || p < least) break;
      before += p;
    }
    *keep = n;
  }
  __syncthreads();
  int n = *keep;
  for (int i = threadIdx.x; i < k; i += blockDim.x) {
    if (rank[i] >= n) continue;
    int place = 0;
    for (int j = 0; j < i; j++) place += rank[j] < n;
    order[place] = i;
    kept[(i64)blockIdx.x * k + place] = ids[i];
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0;
    for (int j = 0; j < n; j++) sum += exps[rank[order[j]]];
    *total = sum;
    masses[blockIdx.x] = sum;
    counts[blockIdx.x] = n;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < k; i += blockDim.x)
    if (rank[i] == 0) tops[blockIdx.x] = value[i];
  for (int d = first[blockIdx.x] + threadIdx.x; d < first[blockIdx.x + 1]; d += blockDim.x) {
    double limit = (double)uniform[d] * *total, sum = 0;
    int j = 0;
    for (; j < n - 1; j++)
      if ((sum += exps[rank[order[j]]]) > limit) break;
    tokens[d] = ids[order[j]];
    logits[d] = value[order[j]];
  }
}
