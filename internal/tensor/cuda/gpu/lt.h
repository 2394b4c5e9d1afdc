// One cuBLASLt product: its descriptors and the algorithm chosen for them.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct lt_plan lt_plan;
typedef struct {
  int transa, transb;      // 0 or 1
  uint64_t m, n, k;        // column-major: D [m, n] = op(A) [m, k] op(B) [k, n]
  int in, out;             // cudaDataType of A and B, of D
  int64_t lda, ldb, ldd;
  uint32_t align[3];       // of A, B, D in bytes
  uint64_t workspace;      // bytes
} lt_problem;

int lt_open(void **handle);
int lt_close(void *handle);
// lt_make returns a cublasStatus_t; -1: no algorithm fits.
int lt_make(void *handle, const lt_problem *p, lt_plan **plan);
void lt_free(lt_plan *plan);
int lt_run(void *handle, const lt_plan *plan, float alpha, uint64_t a, uint64_t b, float beta, uint64_t d, uint64_t workspace, void *stream);
