// What the stand-ins share: libcuda.so.1 exports these to the others.
#pragma once
#include <stddef.h>

struct fake_stream;

void fake_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
// The error that FAKE_CUDA_FAIL wants of a call of name, or 0.
int fake_failure(const char *name);
// Appends run(args) to the stream, or to the graph that it captures; args is
// copied. run returns a CUresult.
int fake_enqueue(struct fake_stream *s, int (*run)(void *args), const void *args, size_t size);
// Whether n bytes at p lie in one allocation of device memory.
int fake_is_device(unsigned long long p, size_t n);

#define TRY(name)                  \
  do {                             \
    int e_ = fake_failure(name);   \
    if (e_) return e_;             \
  } while (0)
