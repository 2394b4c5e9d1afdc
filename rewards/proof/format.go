package proof

import (
	"strconv"
	"strings"

	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/answer"
)

// Phrases that the formats require, word for word.
const (
	EvaluationPhrase    = "Here is my evaluation of the solution:"
	EvaluationScore     = "Based on my evaluation, the final overall score should be:"
	MetaPhrase          = `Here is my analysis of the "solution evaluation":`
	MetaScore           = `Based on my analysis, I will rate the "solution evaluation" as:`
	SolutionTitle       = "Solution"
	SelfEvaluationTitle = "Self Evaluation"
	markdownHeading     = "## "
	markdownBold        = "**"
	maxScoreText        = 16 // bytes; a score is a short number
)

// Evaluation is what a verifier wrote.
type Evaluation struct {
	Text  string  // the analysis between the two phrases
	Score float64 // 0, 0.5 or 1
}

// ParseVerifier reads a verifier's output: EvaluationPhrase, later
// EvaluationScore, then a box with the score. ok is false if the format is wrong
// (R_format = 0).
func ParseVerifier(text string) (e Evaluation, ok bool) {
	body, ok := rewards.AfterThinking(text)
	if !ok {
		return Evaluation{}, false
	}
	return evaluation(body, EvaluationPhrase, EvaluationScore)
}

// ParseMeta reads a meta-verifier's output, with its own phrases.
func ParseMeta(text string) (e Evaluation, ok bool) {
	body, ok := rewards.AfterThinking(text)
	if !ok {
		return Evaluation{}, false
	}
	return evaluation(body, MetaPhrase, MetaScore)
}

func evaluation(body, phrase, scorePhrase string) (e Evaluation, ok bool) {
	_, after, ok := strings.Cut(body, phrase)
	if !ok {
		return Evaluation{}, false
	}
	at := strings.LastIndex(after, scorePhrase)
	if at < 0 {
		return Evaluation{}, false
	}
	box, ok := answer.LastBoxed(after[at+len(scorePhrase):])
	if !ok {
		return Evaluation{}, false
	}
	score, ok := parseScore(box)
	return Evaluation{Text: strings.TrimSpace(after[:at]), Score: score}, ok
}

// parseScore reads one of the three scores.
func parseScore(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if len(s) > maxScoreText {
		return 0, false
	}
	if strings.Trim(s, "0123456789.") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && (v == 0 || v == 0.5 || v == 1)
}

// Generation is what a proof generator wrote.
type Generation struct {
	Proof string     // between the titles: all that a verifier may see
	Self  Evaluation // the generator's own
}

// ParseGenerator reads a generator's output: the title line "## Solution", the
// proof, the title line "## Self Evaluation", then an evaluation as ParseVerifier
// reads it. Titles may be bold instead ("**Solution**"). ok is false if the format
// is wrong (R_format = 0).
func ParseGenerator(text string) (g Generation, ok bool) {
	body, ok := rewards.AfterThinking(text)
	if !ok {
		return Generation{}, false
	}
	_, after, ok := cutTitle(body, SolutionTitle)
	if !ok {
		return Generation{}, false
	}
	proof, rest, ok := cutTitle(after, SelfEvaluationTitle)
	if !ok {
		return Generation{}, false
	}
	self, ok := evaluation(rest, EvaluationPhrase, EvaluationScore)
	if !ok {
		return Generation{}, false
	}
	return Generation{Proof: strings.TrimSpace(proof), Self: self}, true
}

// cutTitle splits text around the first line that is the title.
func cutTitle(text, title string) (before, after string, ok bool) {
	for at := 0; at < len(text); {
		line, _, more := strings.Cut(text[at:], "\n")
		end := at + len(line)
		if trimmed := strings.TrimSpace(line); trimmed == markdownHeading+title || trimmed == markdownBold+title+markdownBold {
			return text[:at], text[end:], true
		}
		if !more {
			break
		}
		at = end + 1
	}
	return text, "", false
}
