//go:build cuda && cgo

#include "lt.h"
#include <stdlib.h>

// Our own declarations of cuBLASLt's public functions; the numbers are the same in
// CUDA 11.8, 12 and 13.
typedef struct { uint64_t data[8]; } algo_t;
typedef struct { algo_t algo; size_t workspace; int state; float waves; int reserved[4]; } result_t;
int cublasLtCreate(void **handle);
int cublasLtDestroy(void *handle);
int cublasLtMatmulDescCreate(void **desc, int compute, int scale);
int cublasLtMatmulDescDestroy(void *desc);
int cublasLtMatmulDescSetAttribute(void *desc, int attribute, const void *value, size_t size);
int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t cols, int64_t ld);
int cublasLtMatrixLayoutDestroy(void *layout);
int cublasLtMatmulPreferenceCreate(void **pref);
int cublasLtMatmulPreferenceDestroy(void *pref);
int cublasLtMatmulPreferenceSetAttribute(void *pref, int attribute, const void *value, size_t size);
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *desc, void *a, void *b, void *c, void *d, void *pref, int want, result_t *results, int *got);
int cublasLtMatmul(void *handle, void *desc, const void *alpha, const void *a, void *la, const void *b, void *lb, const void *beta, const void *c, void *lc, void *d, void *ld,
                   const algo_t *algo, void *workspace, size_t bytes, void *stream);

enum {
  R_32F = 0,         // CUDA_R_32F, the scale's type
  COMPUTE_32F = 68,  // CUBLAS_COMPUTE_32F: float32 stays float32, no TF32
  DESC_TRANSA = 3,
  DESC_TRANSB = 4,
  PREF_WORKSPACE = 1,
  PREF_REDUCTION = 3,
  PREF_ALIGN_A = 5,
  REDUCTION_COMPUTE_TYPE = 2,  // parts of a split product are added in float32
};

struct lt_plan { void *desc, *a, *b, *d; algo_t algo; size_t workspace; };

int lt_open(void **handle) { return cublasLtCreate(handle); }
int lt_close(void *handle) { return cublasLtDestroy(handle); }

int lt_make(void *handle, const lt_problem *p, lt_plan **out) {
  lt_plan *q = calloc(1, sizeof *q);
  void *pref = NULL;
  int e, got = 0;
  uint32_t reduction = REDUCTION_COMPUTE_TYPE;
  result_t r;
  if (!q) return 3;
  if ((e = cublasLtMatmulDescCreate(&q->desc, COMPUTE_32F, R_32F))) goto end;
  if ((e = cublasLtMatmulDescSetAttribute(q->desc, DESC_TRANSA, &p->transa, sizeof p->transa))) goto end;
  if ((e = cublasLtMatmulDescSetAttribute(q->desc, DESC_TRANSB, &p->transb, sizeof p->transb))) goto end;
  if ((e = cublasLtMatrixLayoutCreate(&q->a, p->in, p->transa ? p->k : p->m, p->transa ? p->m : p->k, p->lda))) goto end;
  if ((e = cublasLtMatrixLayoutCreate(&q->b, p->in, p->transb ? p->n : p->k, p->transb ? p->k : p->n, p->ldb))) goto end;
  if ((e = cublasLtMatrixLayoutCreate(&q->d, p->out, p->m, p->n, p->ldd))) goto end;
  if ((e = cublasLtMatmulPreferenceCreate(&pref))) goto end;
  if ((e = cublasLtMatmulPreferenceSetAttribute(pref, PREF_WORKSPACE, &p->workspace, sizeof p->workspace))) goto end;
  if ((e = cublasLtMatmulPreferenceSetAttribute(pref, PREF_REDUCTION, &reduction, sizeof reduction))) goto end;
  for (int i = 0; i < 4; i++) // A, B, C, D; C is D
    if ((e = cublasLtMatmulPreferenceSetAttribute(pref, PREF_ALIGN_A + i, &p->align[i < 2 ? i : 2], sizeof *p->align))) goto end;
  if ((e = cublasLtMatmulAlgoGetHeuristic(handle, q->desc, q->a, q->b, q->d, q->d, pref, 1, &r, &got))) goto end;
  if (!got || r.state) {
    e = -1;
    goto end;
  }
  q->algo = r.algo;
  q->workspace = r.workspace;
end:
  if (pref) cublasLtMatmulPreferenceDestroy(pref);
  if (e) {
    lt_free(q);
    q = NULL;
  }
  *out = q;
  return e;
}

void lt_free(lt_plan *q) {
  if (q->d) cublasLtMatrixLayoutDestroy(q->d);
  if (q->b) cublasLtMatrixLayoutDestroy(q->b);
  if (q->a) cublasLtMatrixLayoutDestroy(q->a);
  if (q->desc) cublasLtMatmulDescDestroy(q->desc);
  free(q);
}

int lt_run(void *handle, const lt_plan *q, float alpha, uint64_t a, uint64_t b, float beta, uint64_t d, uint64_t workspace, void *stream) {
  return cublasLtMatmul(handle, q->desc, &alpha, (const void *)a, q->a, (const void *)b, q->b, &beta, (const void *)d, q->d, (void *)d, q->d, &q->algo,
                        (void *)workspace, q->workspace, stream);
}
