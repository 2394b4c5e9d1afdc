//go:build cuda && cgo

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
#include "shim.h"

#define HIDDEN __attribute__((visibility("hidden")))

// What a function answers before its library was opened, or if the library lacks it.
HIDDEN int shim_missing_cuda(void) { return 500; }      // CUDA_ERROR_NOT_FOUND
HIDDEN int shim_missing_cublaslt(void) { return 15; }   // CUBLAS_STATUS_NOT_SUPPORTED
HIDDEN int shim_missing_nvrtc(void) { return 11; }      // NVRTC_ERROR_INTERNAL_ERROR
HIDDEN int shim_missing_nccl(void) { return 3; }        // ncclInternalError

// gorgonia.org/cu calls cuInit in its init and ends the process if that fails:
// it is told what it wants to hear, and shim_init asks in earnest.
HIDDEN int cuInit(unsigned flags) {
  (void)flags;
  return 0;
}

// shim_load opens a library; if it cannot, *why says why, to be freed. Both in one
// call: dlerror belongs to the thread, and a goroutine may change its thread between two.
void *shim_load(const char *path, int global, char **why) {
  void *handle = dlopen(path, RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
  if (!handle) {
    const char *e = dlerror();
    *why = strdup(e ? e : "dlopen failed");
  }
  return handle;
}

// shim_lacks returns the first name that the library does not have.
const char *shim_lacks(int lib, void *handle, int from) {
  struct shim_table *t = &shim_tables[lib];
  for (int i = from; i < t->count; i++)
    if (!dlsym(handle, t->names[i])) return t->names[i];
  return NULL;
}

// shim_resolve fills the slots with what the library has and returns its file.
const char *shim_resolve(int lib, void *handle) {
  struct shim_table *t = &shim_tables[lib];
  Dl_info info = {0};
  for (int i = 0; i < t->count; i++) {
    void *p = dlsym(handle, t->names[i]);
    if (!p) continue;
    t->slots[i] = p;
    if (!info.dli_fname) dladdr(p, &info);
  }
  return info.dli_fname;
}

void shim_close(void *handle) { dlclose(handle); }

int shim_init(void *handle) {
  int (*init)(unsigned) = (int (*)(unsigned))dlsym(handle, "cuInit");
  return init ? init(0) : 500;
}

int cuDriverGetVersion(int *version);
int nvrtcVersion(int *major, int *minor);
size_t cublasLtGetVersion(void);
int ncclGetVersion(int *version);

// shim_version returns a version as the library writes it: 12040 (driver), 12004
// (NVRTC, major * 1000 + minor), 120401 (cuBLASLt), 22809 (NCCL); -1 if it cannot.
long shim_version(int lib) {
  int v = 0, minor = 0;
  switch (lib) {
    case 0: return cuDriverGetVersion(&v) ? -1 : v;
    case 1: return (long)cublasLtGetVersion();
    case 2: return nvrtcVersion(&v, &minor) ? -1 : v * 1000L + minor;
    default: return ncclGetVersion(&v) ? -1 : v;
  }
}
