// Gradients of attention.cu. With P the probabilities, computed again from the
// scores and their log-sum-exp, dP = dO V^T and delta = rowsum(dO * O):
//
//	dS = P (dP - delta) scale,  dQ += dS K,  dK += dS^T Q,  dV += P^T dO
//
// dQ is added up by tiles of queries, dK and dV by tiles of keys that go through
// their queries in order: no sum depends on the order of blocks.
#include "grouse.cuh"

// delta of a row and head: a warp each, n of them.
GROUSE_KERNEL(attention_delta, float* delta, const float* dout, const float* o, i32 vd, i32 n) {
  int i = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
  float sum = 0;
  if (i < n)
    for (int c = threadIdx.x & 31; c < vd; c += 32) sum += dout[(i64)i * vd + c] * o[(i64)i * vd + c];
  sum = warp_sum(sum);
  if (i < n && (threadIdx.x & 31) == 0) delta[i] = sum;
}

// dQ of a tile of queries. Dynamic memory: 16 kd floats.
GROUSE_KERNEL(attention_grad_q, float* dq, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const AttentionTile* tiles, const i32* table, const i32* selection, i32 per, i32 kd, i32 vd, float scale, i32 kind) {
  GROUSE_SHARED(float, qs, 16 * 64);
  GROUSE_SHARED(float, ks, 32 * 65);
  GROUSE_SHARED(float, ds, 16 * 33);
  GROUSE_SHARED(i64, rows, 32);
  float* acc = (float*)grouse_dynamic;
  const AttentionTile t = tiles[blockIdx.x];
  int kh = blockIdx.y, kv_heads = gridDim.y, thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  int keys = t.first + (t.from + t.m - 1) / per;
  for (int i = thread; i < t.m * kd; i += blockDim.x) acc[i] = 0;
  for (int k0 = 0; k0 < keys; k0 += 32) {
    __syncthreads();
    if (thread < 32) rows[thread] = k0 + thread < keys ? key_row(t, table, selection, 0, k0 + thread) : -1;
    float s[4] = {0, 0, 0, 0}, dp[4] = {0, 0, 0, 0};
    for (int pass = 0; pass < 2; pass++) {  // q k^T, then dO v^T
      int dim = pass ? vd : kd;
      for (int d0 = 0; d0 < dim; d0 += 64) {
        __syncthreads();
        for (int e = thread; e < 16 * 64; e += blockDim.x) {
          int i = e / 64, c = d0 + e % 64, j = t.from + i;
          i64 at = ((i64)(t.row + j / per) * kv_heads * per + kh * per + j % per) * dim + c;
          qs[e] = i < t.m && c < dim ? (pass ? dout[at] : load_element(q, at, kind)) : 0.f;
        }
        for (int e = thread; e < 32 * 64; e += blockDim.x) {
          int i = e / 64, c = d0 + e % 64;
          ks[i * 65 + e % 64] = rows[i] >= 0 && c < dim ? load_element(pass ? v : k, (rows[i] * kv_heads + kh) * dim + c, kind) : 0.f;
        }
        __syncthreads();
        int n = min(64, dim - d0);
        for (int c = 0; c < n; c++) {
          float x = ks[lane * 65 + c];
          for (int r = 0; r < 4; r++) {
            float y = qs[(warp + 4 * r) * 64 + c] * x;
            if (pass) dp[r] += y;
            else s[r] += y;
          }
        }
      }
    }
    for (int r = 0; r < 4; r++) {
      int i = warp + 4 * r, j = t.from + i;
      i64 at = (i64)(t.row + j / per) * kv_heads * per + kh * per + j % per;
      bool sees = i < t.m && k0 + lane < t.first + (t.from + i) / per;
      ds[i * 33 + lane] = sees ? expf(s[r] * scale - lse[at]) * (dp[r] - delta[at]) * scale : 0.f;
    }
    for (int c0 = 0; c0 < kd; c0 += 64) {
      __syncthreads();
      for (int e = thread; e < 32 * 64; e += blockDim.x) {
        int i = e / 64, c = c0 + e % 64;
        ks[i * 65 + e % 64] = rows[i] >= 0 && c < kd ? load_element(k, (rows[i] * kv_heads + kh) * kd + c, kind) : 0.f;
      }
      __syncthreads();
      int c = thread % 64;
      if (c0 + c < kd)
        for (int i = thread / 64; i < t.m; i += 2) {
          float a = acc[i * kd + c0 + c];
          for (int j = 0; j < 32; j++) a += ds[i * 33 + j] * ks[j * 65 + c];
          acc[i * kd + c0 + c] = a;
        }
    }
  }
  __syncthreads();
  for (int e = thread; e < t.m * kd; e += blockDim.x) {
    int j = t.from + e / kd;
    dq[((i64)(t.row + j / per) * kv_heads * per + kh * per + j % per) * kd + e % kd] += acc[e];
  }
}

// 16 keys of a sequence and who reads them: the sequence itself and those that
// continue it, in order.
struct KeyTile {
  i32 row, position, n;  // of the first key; keys
  i32 from, to;          // readers
};
struct KeyReader {
  i32 row, len, position;  // of the first query; rows
};

// dK and dV of a tile of keys. bits, if not null, says which positions a row
// reads: [rows, words]. Dynamic memory: 16 (kd + vd) floats.
GROUSE_KERNEL(attention_grad_kv, float* dk, float* dv, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const KeyTile* tiles, const KeyReader* readers, const u32* bits, i32 words, i32 per, i32 kd, i32 vd, float scale, i32 kind) {
  GROUSE_SHARED(float, qs, 16 * 65);
  GROUSE_SHARED(float, ks, 16 * 65);
  GROUSE_SHARED(float, ps, 16 * 17);
  GROUSE_SHARED(float, ds, 16 * 17);
  float* acc_k = (float*)grouse_dynamic;
  const KeyTile t = tiles[blockIdx.x];
  float* acc_v = acc_k + 16 * kd;
  int kh = blockIdx.y, kv_heads = gridDim.y, heads = kv_heads * per, thread = threadIdx.x, key = thread % 16;
  for (int i = thread; i < 16 * (kd + vd); i += blockDim.x) acc_k[i] = 0;
  for (int x = t.from; x < t.to; x++) {
    const KeyReader reader = readers[x];
    int queries = reader.len * per;
    int skipped = max(0, t.position - reader.position) * per;  // rows before the keys
    for (int j0 = skipped / 16 * 16; j0 < queries; j0 += 16) {
      int m = min(16, queries - j0);
      float s[2] = {0, 0}, dp[2] = {0, 0};
      for (int pass = 0; pass < 2; pass++) {
        int dim = pass ? vd : kd;
        for (int d0 = 0; d0 < dim; d0 += 64) {
          __syncthreads();
          for (int e = thread; e < 16 * 64; e += blockDim.x) {
            int i = e / 64, c = d0 + e % 64, j = j0 + i;
            i64 at = ((i64)(reader.row + j / per) * heads + kh * per + j % per) * dim + c;
            qs[i * 65 + e % 64] = i < m && c < dim ? (pass ? dout[at] : load_element(q, at, kind)) : 0.f;
            ks[i * 65 + e % 64] = i < t.n && c < dim ? load_element(pass ? v : k, ((i64)(t.row + i) * kv_heads + kh) * dim + c, kind) : 0.f;
          }
          __syncthreads();
          int n = min(64, dim - d0);
          for (int c = 0; c < n; c++)
            for (int r = 0; r < 2; r++) {
              float y = qs[(thread / 16 + 8 * r) * 65 + c] * ks[key * 65 + c];
              if (pass) dp[r] += y;
              else s[r] += y;
            }
        }
      }
      for (int r = 0; r < 2; r++) {
        int i = thread / 16 + 8 * r, j = j0 + i, row = reader.row + j / per, position = t.position + key;
        bool sees = i < m && key < t.n && position <= reader.position + j / per;
        if (sees && bits) sees = bits[(i64)row * words + position / 32] >> (position % 32) & 1;
        float p = 0, d = 0;
        if (sees) {
          i64 at = (i64)row * heads + kh * per + j % per;
          p = expf(s[r] * scale - lse[at]);
          d = p * (dp[r] - delta[at]) * scale;
        }
        ps[i * 17 + key] = p;
        ds[i * 17 + key] = d;
      }
      for (int pass = 0; pass < 2; pass++) {  // dK += dS^T Q, dV += P^T dO
        int dim = pass ? vd : kd;
        const float* weight = pass ? ps : ds;
        float* acc = pass ? acc_v : acc_k;
        for (int c0 = 0; c0 < dim; c0 += 64) {
          __syncthreads();
          for (int e = thread; e < 16 * 64; e += blockDim.x) {
            int i = e / 64, c = c0 + e % 64, j = j0 + i;
            i64 at = ((i64)(reader.row + j / per) * heads + kh * per + j % per) * dim + c;
            qs[i * 65 + e % 64] = i < m && c < dim ? (pass ? dout[at] : load_element(q, at, kind)) : 0.f;
          }
          __syncthreads();
          int c = thread % 64;
          if (c0 + c < dim)
            for (int y = thread / 64; y < t.n; y += 2) {
              float a = acc[y * dim + c0 + c];
              for (int i = 0; i < 16; i++) a += weight[i * 17 + y] * qs[i * 65 + c];
              acc[y * dim + c0 + c] = a;
            }
        }
      }
    }
  }
  __syncthreads();
  for (int e = thread; e < t.n * kd; e += blockDim.x) dk[((i64)(t.row + e / kd) * kv_heads + kh) * kd + e % kd] += acc_k[e];
  for (int e = thread; e < t.n * vd; e += blockDim.x) dv[((i64)(t.row + e / vd) * kv_heads + kh) * vd + e % vd] += acc_v[e];
}
