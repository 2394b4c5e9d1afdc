package math

import (
	"math/big"
	"strings"
)

// number reads 12, 1,234, .5, 1.5e-3, 0.\overline{3}, 0.(3) and 13_8.
func (p *parser) number() *expr {
	begin := p.at
	for p.at < len(p.s) && digit(p.s[p.at]) {
		p.at++
	}
	whole := p.s[begin:p.at]
	for len(whole) <= maxDigits && p.at+3 < len(p.s) && p.s[p.at] == ',' && threeDigits(p.s[p.at+1:]) && begin+3 >= p.at-4*strings.Count(p.s[begin:p.at], ",") {
		whole += p.s[p.at+1 : p.at+4]
		p.at += 4
	}
	frac := ""
	if p.at < len(p.s) && p.s[p.at] == '.' && (p.at+1 >= len(p.s) || p.s[p.at+1] != '.') {
		p.at++
		f := p.at
		for p.at < len(p.s) && digit(p.s[p.at]) {
			p.at++
		}
		frac = p.s[f:p.at]
	}
	if len(whole)+len(frac) > maxDigits || whole+frac == "" {
		return p.fail()
	}
	v, ok := new(big.Rat).SetString("0" + whole + "." + frac + "0")
	if !ok {
		return p.fail()
	}
	e := &expr{op: opNum, num: v, decimals: len(frac)}
	if rep, ok := p.repeating(); ok {
		nines := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(rep))), nil)
		nines.Sub(nines, big.NewInt(1))
		shift := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(frac))), nil)
		n, _ := new(big.Int).SetString(rep, 10)
		v.Add(v, new(big.Rat).SetFrac(n, nines.Mul(nines, shift)))
		e.decimals = 0
		return e
	}
	p.exponent(e)
	if p.at < len(p.s) && p.s[p.at] == '_' && frac == "" {
		return p.base(whole)
	}
	return e
}

// threeDigits reports whether s begins with a thousands group: three digits, no
// fourth.
func threeDigits(s string) bool {
	return len(s) >= 3 && digit(s[0]) && digit(s[1]) && digit(s[2]) && (len(s) == 3 || !digit(s[3]))
}

func (p *parser) repeating() (digits string, ok bool) {
	rest := p.s[p.at:]
	for _, form := range [][2]string{{`\overline{`, "}"}, {`\overline `, ""}, {`\bar{`, "}"}, {"(", ")"}} {
		if !strings.HasPrefix(rest, form[0]) || (form[0] == "(" && (p.at == 0 || !strings.Contains(p.s[max(0, p.at-20):p.at], "."))) {
			continue
		}
		n := len(form[0])
		for n < len(rest) && digit(rest[n]) {
			n++
		}
		digits = rest[len(form[0]):n]
		if digits == "" || len(digits) > 100 || !strings.HasPrefix(rest[n:], form[1]) {
			continue
		}
		if form[0] == "(" && p.s[p.at-1] != '.' && !digit(p.s[p.at-1]) {
			continue
		}
		p.at += n + len(form[1])
		return digits, true
	}
	return "", false
}

// exponent reads e6 of 1.5e6.
func (p *parser) exponent(e *expr) {
	rest := p.s[p.at:]
	if len(rest) < 2 || rest[0]|0x20 != 'e' {
		return
	}
	n := 1
	if rest[n] == '-' || rest[n] == '+' {
		n++
	}
	d := n
	for n < len(rest) && digit(rest[n]) && n-d < 4 {
		n++
	}
	if n == d || n-d > 3 {
		return
	}
	if f, ok := new(big.Rat).SetString("1" + rest[:n]); ok {
		e.num.Mul(e.num, f)
		e.decimals = 0
		p.at += n
	}
}

// base reads the base of 13_8 or 13_{8}; the value is the number's.
func (p *parser) base(digits string) *expr {
	p.at++
	b := p.argument()
	if p.bad || !isInt(b) || !b.num.Num().IsInt64() {
		return p.fail()
	}
	n := b.num.Num().Int64()
	if n < 2 || n > 36 {
		return p.fail()
	}
	v, ok := new(big.Int).SetString(digits, int(n))
	if !ok {
		return p.fail()
	}
	return number(new(big.Rat).SetInt(v))
}
