// Stand-in of NVRTC: finds the kernels of a source, and writes a "cubin" that the
// stand-in of the driver reads. `#error` in a source is a compile error.
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct program { char *source, *out, log[256]; };

int nvrtcVersion(int *major, int *minor) { *major = 12; *minor = 4; return 0; }
const char *nvrtcGetErrorString(int code) { return code == 6 ? "NVRTC_ERROR_COMPILATION" : code ? "NVRTC_ERROR" : "NVRTC_SUCCESS"; }
int nvrtcCreateProgram(struct program **p, const char *source, const char *name, int n, const char *const *headers, const char *const *names) {
  size_t len = strlen(source) + 1;
  for (int i = 0; i < n; i++) len += strlen(headers[i]) + 1;
  *p = calloc(1, sizeof **p);
  (*p)->source = malloc(len);
  strcpy((*p)->source, source);
  for (int i = 0; i < n; i++) { strcat((*p)->source, "\n"); strcat((*p)->source, headers[i]); }
  return 0;
}
int nvrtcDestroyProgram(struct program **p) { free((*p)->source); free((*p)->out); free(*p); *p = NULL; return 0; }
int nvrtcCompileProgram(struct program *p, int n, const char *const *options) {
  const char *arch = NULL;
  for (int i = 0; i < n; i++) if (!strncmp(options[i], "--gpu-architecture=", 19)) arch = options[i] + 19;
  if (!arch || strncmp(arch, "sm_", 3)) { strcpy(p->log, "invalid value for --gpu-architecture"); return 5; }
  if (strstr(p->source, "#error")) { strcpy(p->log, "all.cu(1): error: #error directive"); return 6; }
  p->out = malloc(4096 + 2 * strlen(p->source));
  char *o = p->out + sprintf(p->out, "FAKE CUBIN %s\n", arch);
  for (const char *at = p->source; (at = strstr(at, "__global__ void ")); ) {
    at += 16;
    o += sprintf(o, ".entry ");
    while (isalnum((unsigned char)*at) || *at == '_') *o++ = *at++;
    *o++ = '(';
    const char *end = strchr(at, ')');
    while (at < end) { // a parameter
      const char *comma = memchr(at, ',', end - at);
      size_t len = (comma ? comma : end) - at;
      int bits = memchr(at, '*', len) || memmem(at, len, "long long", 9) ? 64 : 32;
      o += sprintf(o, ".param .b%d,", bits);
      at += len + 1;
    }
    o += sprintf(o, ")\n");
  }
  return 0;
}
int nvrtcGetCUBINSize(struct program *p, size_t *n) { *n = strlen(p->out) + 1; return 0; }
int nvrtcGetCUBIN(struct program *p, char *out) { strcpy(out, p->out); return 0; }
int nvrtcGetPTXSize(struct program *p, size_t *n) { return 7; }
int nvrtcGetPTX(struct program *p, char *out) { return 7; }
int nvrtcGetProgramLogSize(struct program *p, size_t *n) { *n = strlen(p->log) + 1; return 0; }
int nvrtcGetProgramLog(struct program *p, char *out) { strcpy(out, p->log); return 0; }
int nvrtcAddNameExpression(struct program *p, const char *name) { return 7; }
int nvrtcGetLoweredName(struct program *p, const char *name, const char **out) { return 7; }
