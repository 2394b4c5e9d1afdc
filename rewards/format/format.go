package format

import (
	"context"
	"regexp"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Styles of Options.Style.
const (
	ThinkAnswer = "think_answer" // <think>...</think> <answer>...</answer>, R1-Zero
	Think       = "think"        // <think>...</think> and then an answer that is not blank, R1
	Answer      = "answer"       // one <answer>...</answer> that is not blank
	Boxed       = "boxed"        // a \boxed{} that is not empty, after thinking
)

// Options are the parameters of format.
type Options struct {
	Style   string `json:"style"`   // think_answer | think | answer | boxed; "think_answer"
	Pattern string `json:"pattern"` // instead of a style: the whole completion must match (RE2, (?s) is set)
}

// Reward scores 1 if the completion has the form, else 0 (R_format of DeepSeek-R1,
// arXiv:2501.12948, eq. 4). Each tag must occur exactly once and in order; only
// white space may stand between the two parts and around them. Where the chat
// template opened <think>, the completion need not.
func Reward(o Options) (rewards.Reward, error) {
	check, err := checker(o)
	if err != nil {
		return nil, err
	}
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		if why := check(&s); why != "" {
			return rewards.Value(0, why), nil
		}
		return rewards.Value(1, ""), nil
	}), nil
}

// checker returns a function that says what is wrong with the form, "" for nothing.
func checker(o Options) (func(s *rewards.Sample) string, error) {
	if o.Pattern != "" {
		re, err := regexp.Compile(`(?s)\A(?:` + o.Pattern + `)\z`)
		if err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "pattern: %w", err).WithFix("write the pattern in RE2 syntax: no look-around, no back-references")
		}
		return func(s *rewards.Sample) string {
			if !re.MatchString(s.Completion) {
				return "the pattern does not match"
			}
			return ""
		}, nil
	}
	switch o.Style {
	case ThinkAnswer:
		return func(s *rewards.Sample) string { return tags(s, true) }, nil
	case Think:
		return func(s *rewards.Sample) string { return tags(s, false) }, nil
	case Answer:
		return func(s *rewards.Sample) string {
			_, why := inAnswer(s.Answer)
			return why
		}, nil
	case Boxed:
		box := regexp.MustCompile(`\\boxed\s*\{\s*[^\s}]`)
		return func(s *rewards.Sample) string {
			if !box.MatchString(s.Answer) {
				return `no \boxed{} with an answer`
			}
			return ""
		}, nil
	}
	return nil, grouse.Errorf(grouse.Invalid, "unknown style %q", o.Style).WithFix("set style to think_answer, think, answer or boxed, or give a pattern")
}

// tags checks <think>...</think>, then an answer, in its own tags or not.
func tags(s *rewards.Sample, answerTags bool) string {
	opened := strings.HasSuffix(strings.TrimRight(s.Prompt.Text, " \t\r\n"), rewards.ThinkOpen)
	text := strings.TrimSpace(s.Completion)
	if rest, ok := strings.CutPrefix(text, rewards.ThinkOpen); ok {
		text = rest
	} else if !opened {
		return "does not begin with " + rewards.ThinkOpen
	}
	thinking, answer, ok := strings.Cut(text, rewards.ThinkClose)
	switch {
	case !ok:
		return "no " + rewards.ThinkClose
	case strings.TrimSpace(thinking) == "":
		return "nothing was thought"
	case strings.Contains(thinking, rewards.ThinkOpen) || strings.Contains(answer, rewards.ThinkOpen) || strings.Contains(answer, rewards.ThinkClose):
		return "a think tag occurs twice"
	case strings.Contains(thinking, answerOpen) && answerTags:
		return "an answer tag inside the thinking"
	case !answerTags && strings.TrimSpace(answer) == "":
		return "no answer"
	case !answerTags:
		return ""
	}
	around, why := inAnswer(answer)
	if why == "" && strings.TrimSpace(around) != "" {
		return "text outside of the tags"
	}
	return why
}

const (
	answerOpen  = "<answer>"
	answerClose = "</answer>"
)

// inAnswer checks that text has one <answer>...</answer> with something in it and
// returns what is around it.
func inAnswer(text string) (around, why string) {
	before, rest, ok := strings.Cut(text, answerOpen)
	if !ok {
		return "", "no " + answerOpen
	}
	body, after, ok := strings.Cut(rest, answerClose)
	switch {
	case !ok:
		return "", "no " + answerClose
	case strings.TrimSpace(body) == "":
		return "", "the answer is empty"
	case strings.Contains(body, answerOpen) || strings.Contains(after, answerOpen) || strings.Contains(after, answerClose) || strings.Contains(before, answerClose):
		return "", "an answer tag occurs twice"
	}
	return before + after, ""
}

// New makes the reward format from a recipe's parameters.
func New(params map[string]any) (rewards.Reward, error) {
	o := Options{Style: ThinkAnswer}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if _, set := params["style"]; set && o.Pattern != "" {
		return nil, grouse.Errorf(grouse.Invalid, "format has a style and a pattern").WithFix("keep one of them")
	}
	return Reward(o)
}
