package match

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/answer"
)

// ChoiceOptions are the parameters of choice.
type ChoiceOptions struct {
	Column  string `json:"column"`  // holds the right letter; "answer"
	Choices string `json:"choices"` // column with the list of choices' texts, to accept the text as well; "" : none
	Letters string `json:"letters"` // the letters there are; "ABCDE"
}

// Choice scores 1 if the answer names the right choice of a multiple-choice
// question, else 0: by its letter ("B", "(B)", "\text{B}", "the answer is B") or, if
// the row has the choices, by its text.
func Choice(o ChoiceOptions) rewards.Reward {
	standing := regexp.MustCompile(`(?:^|[^\p{L}\p{N}])([` + regexp.QuoteMeta(o.Letters) + `])(?:$|[^\p{L}\p{N}'’])`)
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		gold, err := s.Text(o.Column)
		if err != nil {
			return rewards.Result{}, err
		}
		want, ok := letterOf(gold, o.Letters)
		if !ok {
			return rewards.Result{}, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q holds no letter of %s: %s", s.Prompt.RowID, o.Column, o.Letters, quote(gold)).
				WithFix("name the column with the letter, or set letters"))
		}
		text := answer.Tail(s.Answer, maxText)
		found, marked := answer.Find(s.Thinking, s.Answer)
		if marked = marked && found.Source != answer.FromLast; marked {
			text = found.Text
		}
		got, ok := letterOf(text, o.Letters)
		if !ok && o.Choices != "" {
			got, ok = byText(&s, text, o)
		}
		if !ok {
			all := standing.FindAllStringSubmatch(clean(text), -1)
			if n := len(all); n > 0 {
				got, ok = all[n-1][1], true
				if marked {
					got = all[0][1] // "B, because A is ..."
				}
			}
		}
		if !ok {
			return rewards.Verdict(false, "no choice in the answer"), nil
		}
		return rewards.Verdict(got == want, fmt.Sprintf("chose %s, right is %s", got, want)), nil
	})
}

// maxText is how much of a completion's end is looked at, in bytes.
const maxText = 1 << 16

var texText = regexp.MustCompile(`\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}`)

// clean takes TeX's and Markdown's dress off.
func clean(s string) string {
	s = texText.ReplaceAllString(s, "$1")
	return strings.NewReplacer("$", "", "**", "", `\(`, "(", `\)`, ")", `\ `, " ").Replace(s)
}

// letterOf reads a text that is a letter and nothing else: "b", "(B)", "B.".
func letterOf(s, letters string) (string, bool) {
	s = strings.ToUpper(strings.Trim(clean(strings.TrimSpace(s)), " \t\r\n().:[]{}"))
	return s, len(s) > 0 && len([]rune(s)) == 1 && strings.Contains(letters, s)
}

// byText finds the one choice whose text is the answer.
func byText(s *rewards.Sample, text string, o ChoiceOptions) (string, bool) {
	v, _ := s.Column(o.Choices)
	list, _ := v.([]any)
	letters := []rune(o.Letters)
	got := ""
	for i, c := range list {
		if str, ok := c.(string); ok && i < len(letters) && same(clean(text), clean(str), true) {
			if got != "" {
				return "", false
			}
			got = string(letters[i])
		}
	}
	return got, got != ""
}

// NewChoice makes the reward choice from a recipe's parameters.
func NewChoice(params map[string]any) (rewards.Reward, error) {
	o := ChoiceOptions{Column: "answer", Letters: "ABCDE"}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if o.Letters == "" || strings.ToUpper(o.Letters) != o.Letters {
		return nil, grouse.Errorf(grouse.Invalid, "letters %q", o.Letters).WithFix("set letters to capitals, such as ABCD")
	}
	return Choice(o), nil
}
