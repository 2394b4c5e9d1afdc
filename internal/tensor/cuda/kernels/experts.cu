// The router of a mixture of experts and the sums over a row's choices. A warp
// routes a row.
#include "grouse.cuh"

// A router's scores, softmax(z) or sigmoid(z), in s [E].
GROUSE_DEVICE void router_scores(float* s, const float* z, int E, int sigmoids) {
  int lane = threadIdx.x;
  if (sigmoids) {
    for (int e = lane; e < E; e += 32) s[e] = sigmoid(z[e]);
    __syncwarp();
    return;
  }
  float top = NEGATIVE_INFINITY, sum = 0;
  for (int e = lane; e < E; e += 32) top = fmaxf(top, z[e]);
  top = warp_max(top);
  for (int e = lane; e < E; e += 32) sum += s[e] = expf(z[e] - top);
  sum = warp_sum(sum);
  for (int e = lane; e < E; e += 32) s[e] /= sum;
  __syncwarp();
}

// The place of the largest of c[0..n), the first of equals; every lane gets it.
GROUSE_DEVICE int warp_arg_max(const float* c, int n) {
  float best = NEGATIVE_INFINITY;
  int at = n;
  for (int i = threadIdx.x; i < n; i += 32)
    if (at == n || c[i] > best) best = c[i], at = i;
  for (int o = 16; o > 0; o >>= 1) {
    float v = __shfl_xor_sync(FULL_WARP, best, o);
    int i = __shfl_xor_sync(FULL_WARP, at, o);
    if (i < n && (at == n || v > best || (v == best && i < at))) best = v, at = i;
  }
  return at;
}

GROUSE_DEVICE float sum_of(const float* s, const i32* experts, int k) {
  float sum = 0;
  for (int j = 0; j < k; j++) sum += s[experts[j]];
  return sum + 1e-20f;  // as DeepSeek's code keeps it away from 0
}

// Chooses the experts of rows whose first is negative, and writes the gates if
// gates is not null. Dynamic memory: 2 (E + groups) floats.
GROUSE_KERNEL(route_experts, float* gates, i32* experts, const float* z, const float* bias, i32 E, i32 k, i32 sigmoids, i32 groups, i32 top_groups, i32 normalize, float scale) {
  float* s = (float*)grouse_dynamic;
  float* c = s + E;
  float* group = c + E;
  float* in = group + groups;
  int lane = threadIdx.x;
  i32* row = experts + (i64)blockIdx.x * k;
  const float* logits = z + (i64)blockIdx.x * E;
  router_scores(s, logits, E, sigmoids);
  if (row[0] < 0) {
    // Softmax keeps the order of the logits, which have no ties of rounding.
    for (int e = lane; e < E; e += 32) c[e] = sigmoids ? s[e] + (bias ? bias[e] : 0.f) : logits[e];
    __syncwarp();
    if (groups > 1) {
      int per = E / groups;
      for (int g = lane; g < groups; g += 32) {
        float first = NEGATIVE_INFINITY, second = NEGATIVE_INFINITY;
        for (int e = g * per; e < (g + 1) * per; e++) {
          if (c[e] > first) second = first, first = c[e];
          else if (c[e] > second) second = c[e];
        }
        group[g] = sigmoids && bias && per > 1 ? first + second : first;
      }
      __syncwarp();
      for (int g = lane; g < groups; g += 32) in[g] = 0;
      for (int i = 0; i < top_groups; i++) {
        int g = warp_arg_max(group, groups);
        __syncwarp();
        if (lane == 0) {
          group[g] = NEGATIVE_INFINITY;
          in[g] = 1;
        }
        __syncwarp();
      }
      for (int e = lane; e < E; e += 32)
        if (in[e / per] == 0) c[e] = NEGATIVE_INFINITY;
      __syncwarp();
    }
    for (int j = 0; j < k; j++) {
      int e = warp_arg_max(c, E);
      __syncwarp();
      if (lane == 0) {
        row[j] = e;
        c[e] = NEGATIVE_INFINITY;
      }
      __syncwarp();
    }
  }
  if (!gates) return;
  float div = normalize ? sum_of(s, row, k) : 1.f;
  for (int j = lane; j < k; j += 32) gates[(i64)blockIdx.x * k + j] = s[row[j]] / div * scale;
}

// With G = sum over the choice of s and q_j = dgates_j scale,
//
//	ds_e = q_e / G - sum_j q_j s_j / G^2  for the chosen, normalized;  ds_e = q_e without
//	dz_e += ds_e s_e (1 - s_e)  sigmoid;   s_e (ds_e - sum_f ds_f s_f)  softmax
//
// in float64 but for the scores. Dynamic memory: E floats.
GROUSE_KERNEL(route_grad, float* dz, const float* dgates, const float* z, const i32* experts, i32 E, i32 k, i32 sigmoids, i32 normalize, float scale) {
  float* s = (float*)grouse_dynamic;
  const i32* row = experts + (i64)blockIdx.x * k;
  const float* dg = dgates + (i64)blockIdx.x * k;
  float* out = dz + (i64)blockIdx.x * E;
  router_scores(s, z + (i64)blockIdx.x * E, E, sigmoids);
  double div = 1, dot = 0, total = 0;
  if (normalize) {
    div = sum_of(s, row, k);
    for (int j = 0; j < k; j++) dot += (double)dg[j] * s[row[j]];
  }
  for (int j = 0; j < k; j++) total += scale * (dg[j] / div - dot / (div * div)) * s[row[j]];
  // The chosen differ from each other, and the rest of a softmax comes after them.
  for (int j = threadIdx.x; j < k; j += 32) {
    double ds = scale * (dg[j] / div - dot / (div * div)), se = s[row[j]];
    out[row[j]] += (float)(sigmoids ? ds * se * (1 - se) : ds * se);
  }
  __syncwarp();
  if (!sigmoids && !normalize)
    for (int e = threadIdx.x; e < E; e += 32) out[e] -= (float)(total * s[e]);
}

// y[t] = sum_j gates[t, j] x[slots[t k + j]], n = rows dim.
GROUSE_KERNEL(combine_slots, float* y, const float* x, const float* gates, const i32* slots, i32 k, i32 dim, i64 n) {
  GRID_LOOP(i, n) {
    i64 t = quotient(i, dim);
    int c = i - t * dim;
    float sum = 0;
    for (int j = 0; j < k; j++) sum += gates[t * k + j] * x[(i64)slots[t * k + j] * dim + c];
    y[i] = sum;
  }
}

// A block a choice: dgates += dy . x[slot], dx[slot] += gate dy.
GROUSE_KERNEL(combine_grad, float* dx, float* dgates, const float* dy, const float* x, const float* gates, const i32* slots, i32 k, i32 dim) {
  GROUSE_SHARED(float, red, 32);
  int i = blockIdx.x;
  i64 at = (i64)slots[i] * dim;
  const float* row = dy + (i64)(i / k) * dim;
  float gate = gates[i], dot = 0;
  for (int c = threadIdx.x; c < dim; c += blockDim.x) {
    dot += row[c] * x[at + c];
    dx[at + c] += gate * row[c];
  }
  dot = block_sum(dot, red);
  if (threadIdx.x == 0) dgates[i] += dot;
}

// dx[t] += sum_j dy[slots[t k + j]], n = rows dim.
GROUSE_KERNEL(dispatch_grad, float* dx, const float* dy, const i32* slots, i32 k, i32 dim, i64 n) {
  GRID_LOOP(i, n) {
    i64 t = quotient(i, dim);
    int c = i - t * dim;
    float sum = dx[i];
    for (int j = 0; j < k; j++) sum += dy[(i64)slots[t * k + j] * dim + c];
    dx[i] = sum;
  }
}
