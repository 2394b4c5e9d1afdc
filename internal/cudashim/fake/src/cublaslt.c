// Stand-in of cuBLASLt: descriptors with their attributes, one heuristic, and a
// plain loop over column-major matrices.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fake.h"

enum { F32 = 0, BF16 = 14, COMPUTE_32F = 68, NOT_SUPPORTED = 15, INVALID = 7 };
struct layout { int type; uint64_t rows, cols; int64_t ld; };
struct desc { int compute, scale, transa, transb; };
struct pref { uint64_t workspace; uint32_t reduction, align[4]; };
struct algo { uint64_t data[8]; };
struct result { struct algo algo; size_t workspace; int state; float waves; int reserved[4]; };

size_t cublasLtGetVersion(void) { return 120401; }
int cublasLtCreate(void **h) { TRY("cublasLtCreate"); *h = malloc(1); return 0; }
int cublasLtDestroy(void *h) { free(h); return 0; }
int cublasLtMatmulDescCreate(struct desc **d, int compute, int scale) { TRY("cublasLtMatmulDescCreate"); *d = malloc(sizeof **d); **d = (struct desc){compute, scale, 0, 0}; return 0; }
int cublasLtMatmulDescDestroy(struct desc *d) { free(d); return 0; }
int cublasLtMatmulDescSetAttribute(struct desc *d, int a, const void *v, size_t n) {
  if (n != 4 || (a != 3 && a != 4)) return INVALID;
  memcpy(a == 3 ? &d->transa : &d->transb, v, 4);
  return 0;
}
int cublasLtMatrixLayoutCreate(struct layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  if (!rows || !cols || ld < (int64_t)rows) return INVALID;
  *l = malloc(sizeof **l);
  **l = (struct layout){type, rows, cols, ld};
  return 0;
}
int cublasLtMatrixLayoutDestroy(struct layout *l) { free(l); return 0; }
int cublasLtMatmulPreferenceCreate(struct pref **p) { *p = calloc(1, sizeof **p); (*p)->reduction = 7; for (int i = 0; i < 4; i++) (*p)->align[i] = 256; return 0; }
int cublasLtMatmulPreferenceDestroy(struct pref *p) { free(p); return 0; }
int cublasLtMatmulPreferenceSetAttribute(struct pref *p, int a, const void *v, size_t n) {
  if (a == 1 && n == 8) memcpy(&p->workspace, v, 8);
  else if (a == 3 && n == 4) memcpy(&p->reduction, v, 4);
  else if (a >= 5 && a <= 8 && n == 4) memcpy(&p->align[a - 5], v, 4);
  else return INVALID;
  return 0;
}

// The problem in one number, which an algorithm is good for.
static uint64_t sign(struct desc *d, struct layout *a, struct layout *b, struct layout *c) {
  uint64_t v[] = {d->compute, d->scale, d->transa, d->transb, a->type, a->rows, a->cols, a->ld, b->type, b->rows, b->cols, b->ld, c->type, c->rows, c->cols, c->ld}, h = 1469598103934665603u;
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) h = (h ^ v[i]) * 1099511628211u;
  return h;
}
static int fits(struct desc *d, struct layout *a, struct layout *b, struct layout *c) {
  uint64_t m = d->transa ? a->cols : a->rows, k = d->transa ? a->rows : a->cols, k2 = d->transb ? b->cols : b->rows, n = d->transb ? b->rows : b->cols;
  return k == k2 && c->rows == m && c->cols == n && a->type == b->type && d->scale == F32 && d->compute == COMPUTE_32F && (a->type == F32 ? c->type == F32 : a->type == BF16);
}

int cublasLtMatmulAlgoGetHeuristic(void *h, struct desc *d, struct layout *a, struct layout *b, struct layout *c, struct layout *dd, struct pref *p, int want, struct result *r, int *got) {
  TRY("cublasLtMatmulAlgoGetHeuristic");
  fake_log("heuristic %c%c m=%llu n=%llu type=%d->%d workspace=%llu reduction=%u align=%u,%u,%u,%u", d->transa ? 'T' : 'N', d->transb ? 'T' : 'N', (unsigned long long)c->rows, (unsigned long long)c->cols, a->type, c->type,
           (unsigned long long)p->workspace, p->reduction, p->align[0], p->align[1], p->align[2], p->align[3]);
  *got = 0;
  if (!fits(d, a, b, c) || memcmp(c, dd, sizeof *c)) return NOT_SUPPORTED;
  *r = (struct result){.algo = {{sign(d, a, b, c), p->align[0], p->align[1], p->align[2]}}, .workspace = p->workspace / 2};
  *got = 1;
  return 0;
}

struct work { struct desc d; struct layout a, b, c; const char *pa, *pb; char *pc; float alpha, beta; };
static float get(const char *p, int type, uint64_t i) {
  float f;
  if (type == F32) memcpy(&f, p + 4 * i, 4);
  else { uint16_t h; memcpy(&h, p + 2 * i, 2); uint32_t u = (uint32_t)h << 16; memcpy(&f, &u, 4); }
  return f;
}
static void put(char *p, int type, uint64_t i, float f) {
  if (type == F32) memcpy(p + 4 * i, &f, 4);
  else { uint32_t u; memcpy(&u, &f, 4); uint16_t h = (u + 0x7fff + ((u >> 16) & 1)) >> 16; memcpy(p + 2 * i, &h, 2); }
}
static int run(void *args) {
  struct work *w = args;
  uint64_t k = w->d.transa ? w->a.rows : w->a.cols;
  for (uint64_t j = 0; j < w->c.cols; j++)
    for (uint64_t i = 0; i < w->c.rows; i++) {
      float s = 0;
      for (uint64_t l = 0; l < k; l++)
        s += get(w->pa, w->a.type, w->d.transa ? l + i * w->a.ld : i + l * w->a.ld) * get(w->pb, w->b.type, w->d.transb ? j + l * w->b.ld : l + j * w->b.ld);
      uint64_t at = i + j * w->c.ld;
      put(w->pc, w->c.type, at, w->beta ? w->alpha * s + w->beta * get(w->pc, w->c.type, at) : w->alpha * s);
    }
  return 0;
}
static int inside(const void *p, struct layout *l) { return fake_is_device((unsigned long long)(uintptr_t)p, ((l->cols - 1) * l->ld + l->rows) * (l->type == F32 ? 4 : 2)); }
static int aligned(const void *p, uint64_t n) { return (uintptr_t)p % n == 0; }

int cublasLtMatmul(void *h, struct desc *d, const float *alpha, const void *pa, struct layout *a, const void *pb, struct layout *b, const float *beta, const void *pc, struct layout *c, void *pd, struct layout *dd,
                   const struct algo *algo, void *workspace, size_t bytes, struct fake_stream *s) {
  TRY("cublasLtMatmul");
  if (!fits(d, a, b, c) || pc != pd || algo->data[0] != sign(d, a, b, c) || !aligned(pa, algo->data[1]) || !aligned(pb, algo->data[2]) || !aligned(pd, algo->data[3])) return INVALID;
  if (!inside(pa, a) || !inside(pb, b) || !inside(pd, c) || !fake_is_device((unsigned long long)(uintptr_t)workspace, bytes)) return INVALID;
  fake_log("matmul %c%c m=%llu n=%llu", d->transa ? 'T' : 'N', d->transb ? 'T' : 'N', (unsigned long long)c->rows, (unsigned long long)c->cols);
  struct work w = {*d, *a, *b, *c, pa, pb, pd, *alpha, *beta};
  return fake_enqueue(s, run, &w, sizeof w) ? 14 : 0;
}
