// attention.cu's forward kernel with tensor cores, for bfloat16 and the usual
// widths of heads (flash attention 2): a warp takes 16 queries of a tile of 64 and
// keeps its output in registers; the probabilities of one product become the
// operand of the next without leaving them. The keys come 32 at a time from the
// list's start, so here too a query's result depends on its own keys only.
// Probabilities are rounded to bfloat16 for the product with the values; their
// sum is not.
#include "grouse.cuh"

GROUSE_DEVICE u32 pack_halves(u16 low, u16 high) { return (u32)low | (u32)high << 16; }

GROUSE_DEVICE u16 load_half(const void* p, i64 i, int kind) { return kind == 2 ? ((const u16*)p)[i] : narrow(((const float*)p)[i]); }

template <int KD, int VD>
GROUSE_DEVICE void attention_tile(float* o, float* lse, const float* q, const void* k, const void* v, const AttentionTile& t, const i32* table, const i32* selection, int per, float scale, int shift, int kind) {
  constexpr int ldk = KD + 8, ldv = VD + 8;  // eight rows of a fragment lie in different banks
  GROUSE_SHARED(u32, key_words, 32 * ldk / 2);
  GROUSE_SHARED(u32, value_words, 32 * ldv / 2);
  GROUSE_SHARED(i64, rows, 32);
  u16* ks = (u16*)key_words;
  u16* vs = (u16*)value_words;
  int kh = blockIdx.y, kv_heads = gridDim.y, thread = threadIdx.x, lane = thread & 31, i0 = (thread >> 5) * 16;
  int g = lane >> 2, pair = (lane & 3) * 2;  // the lane's rows are g and g + 8, its columns pair and pair + 1 of eight
  int keys = t.first + (t.from + t.m - 1) / per;

  i64 head[2];  // of the lane's two queries: row * heads + head; -1: none
  int count[2];
  for (int r = 0; r < 2; r++) {
    int i = i0 + g + 8 * r, j = t.from + i;
    head[r] = i < t.m ? (i64)(t.row + j / per) * kv_heads * per + kh * per + j % per : -1;
    count[r] = i < t.m ? t.first + j / per : 0;
  }
  u32 a[KD / 16][4];
  for (int s = 0; s < KD / 16; s++)
    for (int x = 0; x < 4; x++) {
      int r = x & 1;
      i64 at = head[r] * KD + s * 16 + (x >> 1) * 8 + pair;
      a[s][x] = head[r] < 0 ? 0 : pack_halves(narrow(q[at]), narrow(q[at + 1]));
    }
  float acc[VD / 8][4], top[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, sum[2] = {0, 0};
  for (int n = 0; n < VD / 8; n++)
    for (int x = 0; x < 4; x++) acc[n][x] = 0;

  for (int k0 = 0; k0 < keys; k0 += 32) {
    __syncthreads();
    if (thread < 32) rows[thread] = k0 + thread < keys ? key_row(t, table, selection, shift, k0 + thread) : -1;
    __syncthreads();
    for (int e = thread; e < 32 * KD; e += blockDim.x) {
      int i = e / KD, c = e % KD;
      ks[i * ldk + c] = rows[i] >= 0 ? load_half(k, (rows[i] * kv_heads + kh) * KD + c, kind) : 0;
    }
    for (int e = thread; e < 32 * VD; e += blockDim.x) {
      int i = e / VD, c = e % VD;
      vs[i * ldv + c] = rows[i] >= 0 ? load_half(v, (rows[i] * kv_heads + kh) * VD + c, kind) : 0;
    }
    __syncthreads();
    if (i0 >= t.m) continue;  // the whole warp
    float c[4][4];
    for (int n = 0; n < 4; n++) {
      for (int x = 0; x < 4; x++) c[n][x] = 0;
      for (int s = 0; s < KD / 16; s++) {
        const u32* b = key_words + ((n * 8 + g) * ldk + s * 16 + pair) / 2;
        u32 fragment[2] = {b[0], b[4]};
        mma_bf16(c[n], a[s], fragment);
      }
    }
    for (int r = 0; r < 2; r++) {
      float most = top[r];
      for (int n = 0; n < 4; n++)
        for (int x = 0; x < 2; x++) {
          float& s = c[n][2 * r + x];
          s = k0 + n * 8 + pair + x < count[r] ? s * scale : NEGATIVE_INFINITY;
          most = fmaxf(most, s);
        }
      for (int o = 1; o < 4; o <<= 1) most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, o));
      float f = most == top[r] ? 1.f : expf(top[r] - most), add = 0;
      for (int n = 0; n < 4; n++)
        for (int x = 0; x < 2; x++) {
          float& s = c[n][2 * r + x];
          s = s == NEGATIVE_INFINITY ? 0.f : expf(s - most);
          add += s;
        }
      for (int o = 1; o < 4; o <<= 1) add += __shfl_xor_sync(FULL_WARP, add, o);
      sum[r] = sum[r] * f + add;
      top[r] = most;
      for (int n = 0; n < VD / 8; n++)
        for (int x = 0; x < 2; x++) acc[n][2 * r + x] *= f;
    }
    GROUSE_UNROLL
    for (int s = 0; s < 2; s++) {
      u32 p[4];
      for (int x = 0; x < 4; x++) {
        const float* pairs = c[2 * s + (x >> 1)] + 2 * (x & 1);
        p[x] = pack_halves(narrow(pairs[0]), narrow(pairs[1]));
      }
      for (int n = 0; n < VD / 8; n++) {
        const u16* b = vs + (s * 16 + pair) * ldv + n * 8 + g;
        u32 fragment[2] = {pack_halves(b[0], b[ldv]), pack_halves(b[8 * ldv], b[9 * ldv])};
        mma_bf16(acc[n], p, fragment);
      }
    }
  }
  for (int r = 0; r < 2; r++) {
    if (head[r] < 0) continue;
    for (int n = 0; n < VD / 8; n++)
      for (int x = 0; x < 2; x++) o[head[r] * VD + n * 8 + pair + x] = acc[n][2 * r + x] / sum[r];
    if (lse && pair == 0) lse[head[r]] = top[r] + logf(sum[r]);
  }
}

GROUSE_KERNEL(attention_mma_64, float* o, float* lse, const float* q, const void* k, const void* v, const AttentionTile* tiles, const i32* table, const i32* selection, i32 per, float scale, i32 shift, i32 kind) {
  attention_tile<64, 64>(o, lse, q, k, v, tiles[blockIdx.x], table, selection, per, scale, shift, kind);
}

GROUSE_KERNEL(attention_mma_128, float* o, float* lse, const float* q, const void* k, const void* v, const AttentionTile* tiles, const i32* table, const i32* selection, i32 per, float scale, i32 shift, i32 kind) {
  attention_tile<128, 128>(o, lse, q, k, v, tiles[blockIdx.x], table, selection, per, scale, shift, kind);
}

// DeepSeek-V3's heads.
GROUSE_KERNEL(attention_mma_192_128, float* o, float* lse, const float* q, const void* k, const void* v, const AttentionTile* tiles, const i32* table, const i32* selection, i32 per, float scale, i32 shift, i32 kind) {
  attention_tile<192, 128>(o, lse, q, k, v, tiles[blockIdx.x], table, selection, per, scale, shift, kind);
}
