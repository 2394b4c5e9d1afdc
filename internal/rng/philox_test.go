package rng_test

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/big"
	"sort"
	"testing"

	"github.com/grouse-rl/grouse/internal/rng"
)

// Known answers of Random123's kat_vectors, lines "philox4x32 10".
func TestPhiloxRandom123KnownAnswers(t *testing.T) {
	for _, c := range []struct {
		counter rng.Counter
		key     rng.Key
		want    [4]uint32
	}{
		{rng.Counter{}, rng.Key{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{rng.Counter{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, rng.Key{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{rng.Counter{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, rng.Key{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := rng.Philox(c.key, c.counter); got != c.want {
			t.Errorf("Philox(%x, %x) = %08x, want %08x", c.key, c.counter, got, c.want)
		}
	}
}

func TestNewKeyIsTheHashInLittleEndian(t *testing.T) {
	for _, c := range []struct {
		purpose rng.Purpose
		stage   string
		seed    uint64
		text    string
	}{
		{rng.Rollout, "rl", 7, "grouse/1|rollout|rl|7"},
		{rng.Init, "", math.MaxUint64, "grouse/1|init||18446744073709551615"},
	} {
		sum := sha256.Sum256([]byte(c.text))
		var want rng.Key
		for i := range want {
			for j := 3; j >= 0; j-- {
				want[i] = want[i]<<8 | uint32(sum[4*i+j])
			}
		}
		if got := rng.NewKey(c.purpose, c.stage, c.seed); got != want {
			t.Errorf("NewKey(%q, %q, %d) = %08x, want %08x", c.purpose, c.stage, c.seed, got, want)
		}
	}
	// Written out once: the contract of the runs that exist.
	if got, want := rng.NewKey(rng.Rollout, "rl", 7), goldenKey; got != want {
		t.Errorf("the key of rollout|rl|7 changed: %#08x, want %#08x", got, want)
	}
}

func TestNewKeyRefusesUnknownPurpose(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for purpose \"rollouts\"")
		}
	}()
	rng.NewKey("rollouts", "rl", 1)
}

func TestKeysDiffer(t *testing.T) {
	seen := map[rng.Key]string{}
	for _, p := range rng.Purposes {
		for _, stage := range []string{"a", "b"} {
			for seed := range uint64(3) {
				k, name := rng.NewKey(p, stage, seed), fmt.Sprint(p, stage, seed)
				if other, ok := seen[k]; ok {
					t.Errorf("%s and %s share the key %x", name, other, k)
				}
				seen[k] = name
			}
		}
	}
}

func TestUniform(t *testing.T) {
	if got := rng.Uniform24(math.MaxUint32); got != 1-0x1p-24 {
		t.Errorf("largest uniform %v, want 1-2^-24", got)
	}
	if got := rng.Uniform24(255); got != 0 {
		t.Errorf("Uniform24(255) = %v, want 0: only the upper 24 bits count", got)
	}
	if got := rng.Uniform53(math.MaxUint32, math.MaxUint32); got != 1-0x1p-53 {
		t.Errorf("largest 53-bit uniform %v, want 1-2^-53", got)
	}
	k := rng.NewKey(rng.Rollout, "rl", 1)
	x := rng.Philox(k, rng.Counter{5, 6, 7, 8})
	if got, want := k.Uniform(5, 6, 7, 8), float32(float64(x[0]>>8)/(1<<24)); got != want {
		t.Errorf("Uniform(5,6,7,8) = %v, want %v", got, want)
	}
	sum, n := 0.0, 100000
	for i := range n {
		sum += float64(k.Uniform(uint32(i), 0, 0, 0))
	}
	if mean, tol := sum/float64(n), 4/math.Sqrt(12*float64(n)); math.Abs(mean-0.5) > tol {
		t.Errorf("mean of %d uniforms is %v, want 0.5 within %v", n, mean, tol)
	}
}

func TestStreamReadsBlocksInOrder(t *testing.T) {
	k := rng.NewKey(rng.Data, "rl", 3)
	s := k.Stream(1, 2, 3)
	for block := range uint32(3) {
		for i, want := range rng.Philox(k, rng.Counter{block, 1, 2, 3}) {
			if got := s.Uint32(); got != want {
				t.Fatalf("block %d word %d: %08x, want %08x", block, i, got, want)
			}
		}
	}
}

func TestBelowIsUniform(t *testing.T) {
	k := rng.NewKey(rng.Data, "rl", 3)
	s := k.Stream(0, 0, 0)
	var count [7]int
	const n = 70000
	for range n {
		count[s.Below(7)]++
	}
	for v, c := range count {
		if math.Abs(float64(c)-n/7) > 4*math.Sqrt(n/7) {
			t.Errorf("Below(7): %d came %d times of %d", v, c, n)
		}
	}
}

func TestPerm(t *testing.T) {
	k := rng.NewKey(rng.Data, "rl", 3)
	for _, n := range []int{0, 1, 2, 100} {
		s := k.Stream(9, 0, 0)
		p := s.Perm(n)
		again := k.Stream(9, 0, 0)
		if q := again.Perm(n); fmt.Sprint(p) != fmt.Sprint(q) {
			t.Errorf("n=%d: same stream, two permutations", n)
		}
		sorted := append([]int(nil), p...)
		sort.Ints(sorted)
		for i, v := range sorted {
			if v != i {
				t.Fatalf("n=%d: not a permutation: %v", n, p)
			}
		}
	}
	count := map[string]int{}
	for i := range uint32(6000) {
		s := k.Stream(i, 1, 0)
		count[fmt.Sprint(s.Perm(3))]++
	}
	for p, c := range count {
		if len(count) != 6 || math.Abs(float64(c)-1000) > 150 {
			t.Errorf("permutation %s came %d times of 6000 (%d kinds)", p, c, len(count))
		}
	}
}

func TestNormalMoments(t *testing.T) {
	k := rng.NewKey(rng.Init, "", 1)
	z := make([]float64, 200001)
	k.Normals(z, 1, 2, 3)
	var m1, m2, m4 float64
	for _, v := range z {
		m1 += v
		m2 += v * v
		m4 += v * v * v * v
	}
	n := float64(len(z))
	if m1 /= n; math.Abs(m1) > 4/math.Sqrt(n) {
		t.Errorf("mean %v", m1)
	}
	if m2 /= n; math.Abs(m2-1) > 4*math.Sqrt(2/n) {
		t.Errorf("variance %v", m2)
	}
	if m4 /= n; math.Abs(m4-3) > 4*math.Sqrt(96/n) {
		t.Errorf("fourth moment %v", m4)
	}
	for _, i := range []uint64{0, 1, 2, 777, 200000} {
		if got := k.NormalAt(i, 1, 2, 3); got != z[i] {
			t.Errorf("NormalAt(%d) = %v, Normals has %v", i, got, z[i])
		}
	}
}

// The transform's logarithm and angle against math's, through the variates.
func TestNormalMatchesMath(t *testing.T) {
	k := rng.NewKey(rng.Init, "", 2)
	z := make([]float64, 2)
	for i := range uint32(20000) {
		k.Normals(z, i, 0, 0)
		x := rng.Philox(k, rng.Counter{0, i, 0, 0})
		r := math.Sqrt(-2 * math.Log(1-rng.Uniform53(x[0], x[1])))
		sin, cos := math.Sincos(2 * math.Pi * rng.Uniform53(x[2], x[3]))
		if math.Abs(z[0]-r*cos) > 1e-14*(1+r) || math.Abs(z[1]-r*sin) > 1e-14*(1+r) {
			t.Fatalf("pair %d: %v, want [%v %v]", i, z, r*cos, r*sin)
		}
	}
}

// One sum of bits that must never change: the weights of every tiny model.
func TestNormalBitsAreFixed(t *testing.T) {
	k := rng.NewKey(rng.Init, "stage", 42)
	z := make([]float64, 4096)
	k.Normals(z, 7, 8, 9)
	h := sha256.New()
	for _, v := range z {
		fmt.Fprintf(h, "%016x", math.Float64bits(v))
	}
	if got := new(big.Int).SetBytes(h.Sum(nil)[:8]).Text(16); got != goldenNormals {
		t.Errorf("hash of 4096 normals is %s, want %s", got, goldenNormals)
	}
}
