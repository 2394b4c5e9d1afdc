package math_test

import (
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse/rewards/math"
)

func TestEquivalent(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		// numbers
		{"1/2", `\frac{1}{2}`, true}, {"0.5", `\frac12`, true}, {`\dfrac{17}{50}`, "0.34", true}, {`\frac 59`, `\frac{5}{9}`, true}, {`\frac9{19}`, `9/19`, true}, {"1e6", "1000000", true},
		{`\$36`, "36", true}, {`0.\overline{3}`, `\frac{1}{3}`, true}, {"0.(3)", "1/3", true}, {`0.1\overline{6}`, "1/6", true}, {`1\frac{4}{5}`, "1.8", true}, {`3\frac18`, "25/8", true}, {"1 4/5", "9/5", true},
		{`10,\!080`, "10080", true}, {`11,\! 111,\! 111,\! 100`, "11111111100", true}, {"58,500", "58500", true}, {`\$32,\!348`, "32348", true}, {".0000672", `6.72 \times 10^{-5}`, true},
		{"0.333", "1/3", false}, {"0.3333333", "1/3", true}, {"1.41421356", `\sqrt2`, true}, {"1.414", `\sqrt2`, false}, {"3.14", `\pi`, false}, {"-3", "−3", true}, {"+4", "4", true}, {"007", "7", true},
		{"12", "13", false}, {"1,2", "12", false}, {"2^{10}", "1024", true}, {"5!", "120", true}, {`\binom{5}{2}`, "10", true}, {`2^{2024}+1`, `2^{2024}`, false}, {`2^{2024}+1`, `1+4^{1012}`, true},
		{`10^{1000000000}`, `10^{1000000000}`, true}, {`10^{1000000000}`, `10^{1000000001}`, false}, {`\sqrt[3]{8}`, "2", true}, {"8^{1/3}", "2", true}, {`\lfloor 7/2 \rfloor`, "3", true}, {"|-4|", "4", true},
		{`\frac{1}{12}`, `\frac{11}{2}`, false}, {`\frac{8}{21}`, "0.38095238095238093", true}, {`\dfrac43`, "4/3", true}, {"x^{12}", "x^12", true}, {"x_{12}", "x_{1}2", false},
		{"(0, 1]", `\begin{pmatrix} 2 \\ 3 \end{pmatrix}`, false}, {"(2,3)", `\begin{pmatrix} 2 \\ 3 \end{pmatrix}`, true}, {`\cotx`, `\cot x`, true}, {"odd $n$", "odd n", true},
		// percent, units, degrees, currency
		{"10%", "0.1", true}, {`100\%`, "100", true}, {"10%", "10", true}, {"10%", "1", false}, {`90^\circ`, "90", true}, {`5.4 \text{ cents}`, "5.4", true}, {`864 \mbox{ inches}^2`, "864", true},
		{`\frac{270}7\text{ degrees}`, "270/7", true}, {"18 dollars", "18", true}, {`10\;\text{edges}`, "10", true}, {"5 cm", "5", true}, {`\frac{3}{4}\pi\text{ inches}`, `0.75\pi`, true},
		// bases
		{"13", "13_8", false}, {"13_8", "13_{8}", true}, {"4210_{5}", "4210_5", true}, {"52_8", "52_9", false}, {"11", "13_8", true},
		// surds, constants, complex numbers
		{`3\sqrt{13}`, `\sqrt{117}`, true}, {`11\sqrt2`, `\sqrt{242}`, true}, {`\frac{1}{\sqrt2}`, `\frac{\sqrt{2}}{2}`, true}, {`\sqrt{3+2\sqrt{2}}`, `1+\sqrt2`, true}, {`1 \pm \sqrt{19}`, `1-\sqrt{19}, 1+\sqrt{19}`, true},
		{"i^2", "-1", true}, {"6 - 5i", "-5i+6", true}, {`\frac{i}{5}`, "0.2i", true}, {"6+9i", "6-9i", false}, {`(1+i)^2`, "2i", true}, {`e^{i\pi}`, "-1", true}, {`2\pi`, "2pi", true}, {`\frac{\pi}{6}`, `\pi/6`, true},
		{`\sin 30`, `\sin(30)`, true}, {`\cos\frac{\pi}{3}`, "1/2", true}, {`\log_2 8`, "3", true}, {`\ln e`, "1", true}, {`\tan^{-1}(1)`, `\frac{\pi}{4}`, true},
		// algebra
		{"(a+5)(b+2)", "ab+2a+5b+10", true}, {"x^2+2x+1", "(x+1)^2", true}, {"x^2+2x+1", "(x+1)^3", false}, {"p - q", "-q+p", true}, {`\frac{11+9a}{20}`, `\frac{9a+11}{20}`, true}, {`\frac{1}{1-x}`, `-\frac{1}{x-1}`, true},
		{`\cot x`, `\frac{\cos x}{\sin x}`, true}, {`\sin^2 x + \cos^2 x`, "1", true}, {`36x \sqrt{35x}`, `36\sqrt{35} x^{3/2}`, true}, {`\sqrt{\frac{y}{z}}`, `\frac{\sqrt{y}}{\sqrt{z}}`, true}, {"|x|", "x", false}, {"2k", "2n", false},
		{`x_1+x_2`, `x_{2}+x_{1}`, true}, {"xy", "yx", true}, {"6r^2-4r-24", "2(3r^2-2r-12)", true}, {`2^{u-2}`, `\frac{2^u}{4}`, true},
		// equations, relations, intervals
		{"x=5", "5", true}, {"x = 5", "y=5", true}, {"f(x)=x+1", "x+1", true}, {"5x - 7y + 11z + 4 = 0", "-5x+7y-11z=4", true}, {"5x - 7y + 11z + 4 = 0", "5x-7y+11z=4", false}, {"3a^2 - b^2 = 3", "3 = 3a^2-b^2", true},
		{"x<3", `(-\infty,3)`, true}, {`0 < k \le \frac{4}{9}`, `(0,4/9]`, true}, {`x \geq -\frac{6}{5}`, `[-1.2,\infty)`, true}, {"3 > x", "x < 3", true}, {`x \in [-6,5]`, "[-6,5]", true},
		{"(2,3)", "[2,3]", false}, {`\left(\frac{3}{5},\frac{8}{3}\right]`, `(0.6, 8/3]`, true}, {`(-\infty,-2] \cup [-1,\infty)`, `[-1,\infty)\cup(-\infty,-2]`, true}, {`(-\infty,1)`, `(\infty,1)`, false},
		// sets, lists, tuples, matrices
		{"1,-2", "-2, 1", true}, {`\{1,2\}`, "2,1", true}, {"3, 5, 7", "3,5", false}, {"(1,2)", "(2,1)", false}, {"(6,31,-1)", "(6, 31, -1)", true}, {"1 and 2", "2,1", true}, {"x=1 or x=2", "1,2", true}, {`\emptyset`, `\{\}`, true},
		{`\left( 3, \frac{\pi}{2} \right)`, `(3,\pi/2)`, true}, {`\begin{pmatrix} -2 \\ -14 \\ -7 \end{pmatrix}`, `\begin{bmatrix}-2\\-14\\-7\end{bmatrix}`, true}, {`\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}`, `\begin{pmatrix} 1 & 0 & 0 & 1 \end{pmatrix}`, false},
		{`\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}`, `\begin{pmatrix} -\frac13 \\ \frac{2}{3} \end{pmatrix}`, true}, {"(15,-29)", "(15,29)", false}, {"(1,234)", "(1, 234)", true},
		// text
		{`\text{Evelyn}`, "evelyn", true}, {`\text{(C)}`, "C", true}, {`\text{even}`, "odd", false}, {"A", "B", false}, {`\text{Sunday}`, "sunday.", true}, {"no solution", "No solution", true}, {"", "", false}, {"", "0", false}, {"the empty card", "empty card", true},
	} {
		if got := math.Equivalent(c.a, c.b); got != c.want {
			t.Errorf("Equivalent(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
		if got := math.Equivalent(c.b, c.a); got != c.want {
			t.Errorf("Equivalent(%q, %q) = %v, want %v", c.b, c.a, got, c.want)
		}
	}
}

func TestBoundedTime(t *testing.T) {
	for name, s := range map[string]string{
		"tower": "9^{9^{9^{9^{9}}}}", "factorials": "((((9!)!)!)!)!", "deep": strings.Repeat("(", 900) + "1" + strings.Repeat(")", 900), "digits": strings.Repeat("7", 1999), "plus": strings.Repeat("1+", 999) + "1",
		"roots": strings.Repeat(`\sqrt`, 300) + "2", "powers": strings.Repeat("2^", 900) + "2", "lists": strings.Repeat("1,", 900) + "1", "pm": strings.Repeat(`\pm`, 300) + "1", "nested sets": strings.Repeat(`\{`, 400) + strings.Repeat(`\}`, 400),
		"products": strings.Repeat("x", 1999), "fractions": strings.Repeat(`\frac1`, 330) + "2", "cups": strings.Repeat(`1\cup `, 280) + "1", "minus": strings.Repeat("-", 1999), "big power": "(10^{1000})^{1000}", "bars": strings.Repeat("|", 1999),
		"tuples": strings.Repeat("(1,", 600) + "1" + strings.Repeat(")", 600), "relations": strings.Repeat("x<", 900) + "x", "sines": strings.Repeat(`\sin`, 200) + "2", "sum of sines": strings.Repeat(`\sin2+`, 330) + "1",
		"surd list": strings.Repeat(`\sqrt2,`, 280) + "1", "logs": strings.Repeat(`\ln`, 50) + "2" + strings.Repeat(`+\ln3`, 300), "exponentials": strings.Repeat("e^", 50) + "x", "degrees": "1" + strings.Repeat(`^\circ`, 300),
		"set of sets": `\{` + strings.Repeat(`\{1,2\},`, 150) + `1\}`, "equal surds": `\{` + strings.Repeat(`\sqrt2,`, 90) + `\sqrt2\}`, "matrices": strings.Repeat(`\begin{pmatrix}1&2\end{pmatrix}`, 40), "tiny base": "0." + strings.Repeat("0", 900) + "1^{255}",
		"nested powers": strings.Repeat("(", 40) + "2" + strings.Repeat(")^{99}", 40), "fractions of factorials": strings.Repeat(`\frac{1}{2999!+1}+`, 100) + "1", "repeating": "0." + strings.Repeat(`\overline{7}`, 150), "unions": strings.Repeat(`]1,2[\cup`, 150),
		"choose": strings.Repeat("{", 200) + `2999 \choose 1500` + strings.Repeat("}", 200), "sum of choose": strings.Repeat(`\binom{2999}{1499}+`, 95) + "1", "binomial": `\binom{999999}{500000}`, "long": strings.Repeat("a", 1<<20),
	} {
		start := time.Now()
		math.Equivalent(s, s+"+1")
		math.Equivalent(s, "1")
		took := time.Since(start)
		t.Logf("%-24s %v", name, took.Round(10*time.Microsecond))
		if took > time.Second { // tens of milliseconds on a quiet machine, without the race detector
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func FuzzEquivalent(f *testing.F) {
	for _, s := range []string{`\frac{1}{2}`, "1,2", `\{x|x>0\}`, "(1,2]", `\begin{pmatrix}1\\2\end{pmatrix}`, "x=1 or x=2", "0.\\overline{3}", "13_8", `\sqrt[3]{2}`, "\xff\x01\x02", "10%", "5!", `1\pm2`} {
		f.Add(s, "1")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		start := time.Now()
		if first, second := math.Equivalent(a, b), math.Equivalent(a, b); first != second {
			t.Fatalf("%q, %q: two answers", a, b)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Fatalf("%q, %q: took %v", a, b, took)
		}
	})
}

func BenchmarkEquivalent(b *testing.B) {
	for b.Loop() {
		math.Equivalent(`\frac{14}{3}`, `4\frac{2}{3}`)
		math.Equivalent(`3\sqrt{13}`, `\sqrt{117}`)
		math.Equivalent("(a+5)(b+2)", "ab+2a+5b+10")
		math.Equivalent(`\left( 3, \frac{\pi}{2} \right)`, `(3,\pi/2)`)
	}
}
