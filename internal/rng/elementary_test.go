package rng_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/grouse-rl/grouse/internal/rng"
)

// ulps returns |got-want| in units of the last place of want.
func ulps(got, want float64) float64 {
	if got == want {
		return 0
	}
	return math.Abs(got-want) / (math.Nextafter(math.Abs(want), math.Inf(1)) - math.Abs(want))
}

func TestExpAndLogAgainstMath(t *testing.T) {
	k := rng.NewKey(rng.Data, "", 1)
	s := k.Stream(0, 0, 0)
	worst := map[string]float64{}
	for range 200000 {
		x := (s.Float64() - 0.5) * 80
		worst["exp"] = max(worst["exp"], ulps(rng.Exp(x), math.Exp(x)))
		small := (s.Float64() - 0.5) * math.Ldexp(1, -int(s.Below(30)))
		worst["expm1"] = max(worst["expm1"], ulps(rng.Expm1(small), math.Expm1(small)))
		y := math.Ldexp(s.Float64()+0x1p-53, int(s.Below(200))-100)
		worst["log"] = max(worst["log"], ulps(rng.Log(y), math.Log(y)))
	}
	for name, w := range worst {
		t.Logf("%s: at most %.2f ulps from math's", name, w)
		if w > 4 {
			t.Errorf("%s: %.2f ulps from math's, want at most 4", name, w)
		}
	}
}

func TestElementaryEdges(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"Exp(0)", rng.Exp(0), 1}, {"Exp(-inf)", rng.Exp(-inf), 0}, {"Exp(inf)", rng.Exp(inf), inf},
		{"Exp(710)", rng.Exp(710), inf}, {"Exp(-746)", rng.Exp(-746), 0}, {"Exp(-745)", rng.Exp(-745), math.Exp(-745)},
		{"Exp(-720)", rng.Exp(-720), math.Exp(-720)},
		{"Expm1(0)", rng.Expm1(0), 0}, {"Expm1(-inf)", rng.Expm1(-inf), -1}, {"Expm1(1e-300)", rng.Expm1(1e-300), 1e-300},
		{"Log(1)", rng.Log(1), 0}, {"Log(0)", rng.Log(0), -inf}, {"Log(inf)", rng.Log(inf), inf},
		{"Log(2)", rng.Log(2), math.Ln2}, {"Log(5e-324)", rng.Log(5e-324), -744.4400719213812},
	} {
		if ulps(c.got, c.want) > 1 && !(math.IsInf(c.want, 0) && c.got == c.want) {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
	for name, got := range map[string]float64{"Exp": rng.Exp(math.NaN()), "Expm1": rng.Expm1(math.NaN()), "Log": rng.Log(math.NaN()), "Log(-1)": rng.Log(-1)} {
		if !math.IsNaN(got) {
			t.Errorf("%s of NaN or outside: %v, want NaN", name, got)
		}
	}
	if x := math.Float64frombits(0x4086_2e42_fefa_39ef); math.IsInf(rng.Exp(x), 0) {
		t.Errorf("Exp(%v) overflows", x) // the largest argument that does not
	}
}

// The table against 2^(j/32) in 200 bits: t[j]^32 == 2^j up to 32 half ulps.
func TestExpAtMultiplesOfLn2(t *testing.T) {
	for n := -40; n <= 40; n++ {
		x := float64(n) * math.Ln2 / 32
		// e^x by its series in 200 bits
		term, sum := big.NewFloat(1).SetPrec(200), big.NewFloat(1).SetPrec(200)
		bx := new(big.Float).SetPrec(200).SetFloat64(x)
		for k := int64(1); k < 60; k++ {
			term.Mul(term, bx).Quo(term, new(big.Float).SetPrec(200).SetInt64(k))
			sum.Add(sum, term)
		}
		want, _ := sum.Float64()
		if u := ulps(rng.Exp(x), want); u > 1 {
			t.Errorf("Exp(%v) is %.1f ulps off", x, u)
		}
	}
}

func BenchmarkExp(b *testing.B) {
	x := -3.3
	for b.Loop() {
		x = -rng.Exp(x) - 3
	}
}
