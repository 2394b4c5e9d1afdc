package match

import (
	"context"
	"fmt"
	"math/big"
	"regexp"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/answer"
)

// NumericOptions are the parameters of numeric.
type NumericOptions struct {
	Column    string  `json:"column"`    // holds the reference: a number, or a text with one ("#### 42"); "answer"
	Tolerance float64 `json:"tolerance"` // largest |answer - reference| that is right
	Relative  float64 `json:"relative"`  // or largest share of |reference|
}

// Numeric scores 1 if the final number of the answer equals the reference, else 0:
// exactly, as rationals, unless a tolerance allows more. Thousands separators,
// currency marks, percent signs (10% is 0.1 or, as people write it, 10) and
// fractions are understood.
func Numeric(o NumericOptions) rewards.Reward {
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		gold, err := s.Text(o.Column)
		if err != nil {
			return rewards.Result{}, err
		}
		want, ok := finalNumber("", gold)
		if !ok {
			return rewards.Result{}, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q holds no number: %s", s.Prompt.RowID, o.Column, quote(gold)).
				WithFix("name the column with the number, or use the reward math"))
		}
		got, ok := finalNumber(s.Thinking, s.Answer)
		if !ok {
			return rewards.Verdict(false, "no number in the answer"), nil
		}
		right := o.near(got.value, want.value)
		if got.percent != want.percent && !right {
			right = o.near(got.asFraction(), want.asFraction())
		}
		return rewards.Verdict(right, fmt.Sprintf("%s, reference %s", quote(got.text), quote(want.text))), nil
	})
}

func (o *NumericOptions) near(got, want *big.Rat) bool {
	if got.Cmp(want) == 0 {
		return true
	}
	diff := new(big.Rat).Sub(got, want)
	allowed := new(big.Rat)
	if o.Tolerance > 0 {
		allowed.SetFloat64(o.Tolerance)
	}
	if o.Relative > 0 {
		share := new(big.Rat).Mul(new(big.Rat).SetFloat64(o.Relative), new(big.Rat).Abs(want))
		if share.Cmp(allowed) > 0 {
			allowed = share
		}
	}
	return diff.Abs(diff).Cmp(allowed) <= 0
}

// number is a rational as it was written.
type number struct {
	value   *big.Rat
	percent bool
	text    string
}

func (n number) asFraction() *big.Rat {
	if !n.percent {
		return n.value
	}
	return new(big.Rat).Quo(n.value, big.NewRat(100, 1))
}

func finalNumber(thinking, text string) (number, bool) {
	found, ok := answer.Find(thinking, text)
	if !ok {
		return number{}, false
	}
	n, ok := parseNumber(found.Text)
	if !ok && found.Source != answer.FromLast {
		n, ok = onlyNumber(found.Text)
	}
	return n, ok
}

var (
	plainNumber = regexp.MustCompile(`^([-+−]?)\s*[$€£¥]?\s*((?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?)(?:[eE]([-+]?\d{1,3}))?(?:\s*/\s*(\d+))?\s*(%?)$`)
	anyNumber   = regexp.MustCompile(`[-+−]?\s?[$€£¥]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3})?(?:\s?/\s?\d+)?\s?%?`)
	texMarks    = strings.NewReplacer(`\$`, "$", `\%`, "%", `\,`, "", `\!`, "", "{,}", ",", `\left`, "", `\right`, "", "$", "")
)

const maxDigits = 400

func parseNumber(s string) (number, bool) {
	s = strings.TrimSpace(s)
	if len(s) > maxDigits {
		return number{}, false
	}
	m := plainNumber.FindStringSubmatch(strings.TrimSpace(texMarks.Replace(s)))
	if m == nil || strings.Trim(m[2], ".") == "" {
		return number{}, false
	}
	text := strings.ReplaceAll(m[2], ",", "")
	if m[3] != "" {
		text += "e" + m[3]
	}
	v, ok := new(big.Rat).SetString(strings.TrimSuffix(text, "."))
	if !ok {
		return number{}, false
	}
	if m[4] != "" {
		den, ok := new(big.Rat).SetString(m[4])
		if !ok || den.Sign() == 0 {
			return number{}, false
		}
		v.Quo(v, den)
	}
	if m[1] == "-" || m[1] == "−" {
		v.Neg(v)
	}
	return number{value: v, percent: m[5] != "", text: s}, true
}

// onlyNumber reads a phrase that holds one number: "18 dollars", "x = 4".
func onlyNumber(s string) (number, bool) {
	all := anyNumber.FindAllString(texMarks.Replace(s), 2)
	if len(all) != 1 {
		return number{}, false
	}
	return parseNumber(all[0])
}

// NewNumeric makes the reward numeric from a recipe's parameters.
func NewNumeric(params map[string]any) (rewards.Reward, error) {
	o := NumericOptions{Column: "answer"}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if !(o.Tolerance >= 0) || !(o.Relative >= 0) {
		return nil, grouse.Errorf(grouse.Invalid, "tolerance %v, relative %v", o.Tolerance, o.Relative).WithFix("set them to numbers of at least 0")
	}
	return Numeric(o), nil
}
