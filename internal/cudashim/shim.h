#pragma once
struct shim_table {
  const char *const *names;
  int count;
  void **slots;
};
extern struct shim_table shim_tables[] __attribute__((visibility("hidden")));
