// The loss that teaches an indexer what attention looks at (tensor.IndexTraining):
//
//	p_s = mean over heads of exp(q.k_s scale - lse), made to sum to 1
//	dI_s = coef (softmax(I)_s - p_s)
//	dw_j += sum_s dI_s Scale relu(q_j.k_s);  where q_j.k_s > 0:
//	dq_j += dI_s w_j Scale k_s,  dk_s += dI_s w_j Scale q_j
//
// Rows of one sequence go chunk by chunk: index_loss_rows fills, for each row of
// a chunk and each position that it reads, dots [chunk, heads, ld] and g = dI
// Scale [chunk, ld]; index_loss_keys adds up the keys. Logarithms and sums are in
// float64.
#include "grouse.cuh"

struct LossRow {
  i32 row;    // of everything that has rows
  i32 count;  // positions that it reads
  i32 list;   // their offset in selection, -1: the first ones
};

GROUSE_DEVICE double block_sum_double(double v, double* red) {
  for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(FULL_WARP, v, o);
  __syncthreads();
  if ((threadIdx.x & 31u) == 0) red[threadIdx.x >> 5] = v;
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < (int)(blockDim.x >> 5); i++) sum += red[i];
  return sum;
}

GROUSE_KERNEL(index_loss_rows, double* loss, float* dq, float* dw, float* g, float* dots, double* p, double* scores, const float* q, const float* k, const float* w, i32 heads, i32 dim, float index_scale, float coef, const float* main_q, const float* main_k, const float* lse, i32 main_heads, i32 kv_heads, i32 kd, float scale, const LossRow* rows, const i32* table, const i32* selection, i32 ld) {
  GROUSE_SHARED(double, red, 8);
  GROUSE_SHARED(float, reduced, 32);
  const LossRow r = rows[blockIdx.x];
  i64 at = (i64)blockIdx.x * ld;
  int per = main_heads / kv_heads;
  double sum = 0;
  float top = NEGATIVE_INFINITY;
  for (int x = threadIdx.x; x < r.count; x += blockDim.x) {
    int s = r.list < 0 ? x : selection[r.list + x];
    i64 key = table[s];
    double mean = 0, score = 0;
    for (int h = 0; h < main_heads; h++) {
      const float* a = main_q + ((i64)r.row * main_heads + h) * kd;
      const float* b = main_k + (key * kv_heads + h / per) * kd;
      float dot = 0;
      for (int c = 0; c < kd; c++) dot += a[c] * b[c];
      mean += exp((double)dot * scale - lse[(i64)r.row * main_heads + h]);
    }
    for (int h = 0; h < heads; h++) {
      const float* a = q + ((i64)r.row * heads + h) * dim;
      float dot = 0;
      for (int c = 0; c < dim; c++) dot += a[c] * k[key * dim + c];
      dots[((i64)blockIdx.x * heads + h) * ld + s] = dot;
      if (dot > 0) score += (double)w[(i64)r.row * heads + h] * index_scale * dot;
    }
    p[at + s] = mean;
    scores[at + s] = score;
    sum += mean;
    top = fmaxf(top, (float)score);
  }
  sum = block_sum_double(sum, red);
  top = block_max(top, reduced);
  double mass = 0;
  for (int x = threadIdx.x; x < r.count; x += blockDim.x) mass += exp(scores[at + (r.list < 0 ? x : selection[r.list + x])] - top);
  double log_mass = log(block_sum_double(mass, red)), kl = 0;
  for (int x = threadIdx.x; x < r.count; x += blockDim.x) {
    int s = r.list < 0 ? x : selection[r.list + x];
    double ps = p[at + s] / sum, lq = scores[at + s] - top - log_mass;
    if (ps > 0) kl += ps * (log(ps) - lq);
    g[at + s] = (float)(coef * (exp(lq) - ps) * index_scale);
  }
  kl = block_sum_double(kl, red);
  if (threadIdx.x == 0) loss[r.row] = kl;
  __syncthreads();  // g and dots are read by everybody
  for (int h = 0; h < heads; h++) {
    const float* dot = dots + ((i64)blockIdx.x * heads + h) * ld;
    double change = 0;
    for (int x = threadIdx.x; x < r.count; x += blockDim.x) {
      int s = r.list < 0 ? x : selection[r.list + x];
      if (dot[s] > 0) change += (double)g[at + s] * dot[s];
    }
    change = block_sum_double(change, red);
    float weight = w[(i64)r.row * heads + h];
    if (threadIdx.x == 0) dw[(i64)r.row * heads + h] += (float)change;
    for (int c = threadIdx.x; c < dim; c += blockDim.x) {
      float add = 0;
      for (int x = 0; x < r.count; x++) {
        int s = r.list < 0 ? x : selection[r.list + x];
        if (dot[s] > 0) add += g[at + s] * weight * k[(i64)table[s] * dim + c];
      }
      dq[((i64)r.row * heads + h) * dim + c] += add;
    }
  }
}

// dk of a position, a block each: the chunk's rows in order, their heads in order.
// g is 0 where a row does not read.
GROUSE_KERNEL(index_loss_keys, float* dk, const float* g, const float* dots, const float* q, const float* w, const LossRow* rows, const i32* table, i32 n, i32 heads, i32 dim, i32 ld) {
  int s = blockIdx.x;
  for (int c = threadIdx.x; c < dim; c += blockDim.x) {
    float sum = 0;
    for (int i = 0; i < n; i++) {
      float change = g[(i64)i * ld + s];
      if (change == 0) continue;
      for (int h = 0; h < heads; h++) {
        i64 at = (i64)rows[i].row * heads + h;
        if (dots[((i64)i * heads + h) * ld + s] > 0) sum += change * w[at] * q[at * dim + c];
      }
    }
    dk[(i64)table[s] * dim + c] += sum;
  }
}
