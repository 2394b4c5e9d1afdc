package rng_test

import "github.com/grouse-rl/grouse/internal/rng"

// Values that existing runs depend on. goldenKey is SHA-256("grouse/1|rollout|rl|7")
// as any sha256sum prints it; goldenNormals was printed by TestNormalBitsAreFixed
// on amd64 and must be the same on every processor.
var goldenKey = rng.Key{0xba54674f, 0x3a9f25a0}

const goldenNormals = "298d5609cb45f88"
