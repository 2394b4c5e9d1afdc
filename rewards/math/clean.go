package math

import (
	"regexp"
	"strings"
	"unicode"
)

// maxLength is how long an answer may be, in bytes; longer ones are compared as text.
const maxLength = 2000

var (
	thousandsTeX = regexp.MustCompile(`(\d)(?:\{,\}|,\\!)\s*(\d)`)
	sized        = regexp.MustCompile(`\\(?:left|right|middle|[bB]ig{1,2}[lrm]?|displaystyle|textstyle|limits|mathopen|mathclose)\b\.?`)
	fracs        = regexp.MustCompile(`\\[dtc]frac`)
	degrees      = regexp.MustCompile(`\^\s*\{?\s*\\circ\s*\}?|\\degrees?\b|°|\\text\s*\{\s*degrees?\s*\}|\bdegrees?\b`)
	unitText     = regexp.MustCompile(`\\(?:text|mbox|mathrm|textrm|textit|textbf|rm|hbox|operatorname)\s*\{[^{}]*\}\s*(?:\^\s*\{?\s*-?\d\s*\}?)?\s*$`)
	unitWord     = regexp.MustCompile(`(?i)(\d|\}|\)|\\pi)\s*(?:square |cubic |sq\.? )?(?:\b|)(` + units + `)(?:\s*\^\s*\{?[23]\}?)?\.?\s*$`)
	plainText    = regexp.MustCompile(`\\(?:text|mbox|mathrm|textrm|textit|textbf|textsf|emph|hbox|mathbf|mathit|mathsf|boldsymbol|bm|boxed|operatorname)\s*\{([^{}]*)\}`)
	unitLetter   = regexp.MustCompile(`\\(?:mathrm|text|operatorname)\s*\{\s*([ie])\s*\}`)
	rowSpace     = regexp.MustCompile(newRow + `\s*\[-?[\d.]+\s*(?:pt|em|ex|cm|mm)\]`)
	memberOf     = regexp.MustCompile(`^\s*\(?[a-zA-Z](?:\s*,\s*[a-zA-Z])*\)?\s*(?:\\in\b|∈)\s*`)
	spaces       = regexp.MustCompile(`\\[,;:! ]|\\q?quad\b|~|\\hspace\{[^{}]*\}|\\phantom\{[^{}]*\}|\x{00a0}`)
)

// units are words that may follow a number and say nothing.
const units = `cm|mm|km|m|ft|feet|foot|in|inch|inches|yd|yards?|miles?|mi|kg|g|mg|grams?|lbs?|pounds?|oz|ounces?|s|sec|seconds?|min|minutes?|h|hrs?|hours?|days?|weeks?|months?|years?|` +
	`mph|km/h|m/s|dollars?|cents?|euros?|usd|percent|units?|meters?|metres?|centimeters?|kilometers?|liters?|litres?|ml|people|students?|apples?|books?|ways?|points?|times|edges|tickets?|coins?|eggs?|pages?|cups?|bags?`

// Bytes that stand for what would be mistaken for something else.
const (
	setOpen  = "\x01" // \{
	setClose = "\x02" // \}
	newRow   = "\x03" // \\
	degree   = "\x04" // ^\circ
)

// symbols written in Unicode, and their TeX.
var symbols = strings.NewReplacer(
	"−", "-", "–", "-", "×", `\times `, "·", `\cdot `, "÷", `\div `, "π", `\pi `, "∞", `\infty `, "√", `\sqrt `, "≤", `\le `, "≥", `\ge `, "≠", `\ne `, "∪", `\cup `, "∩", `\cap `,
	"±", `\pm `, "½", `\frac12`, "¼", `\frac14`, "¾", `\frac34`, "²", "^2", "³", "^3", "θ", `\theta `, "α", `\alpha `, "β", `\beta `, "“", "", "”", "", "∅", `\emptyset `, "，", ",", "（", "(", "）", ")",
)

// spellings of the same thing, and what says nothing.
var spellings = strings.NewReplacer(`\$`, "", `\%`, "%", newRow+"%", "%", `\lbrace`, `\{`, `\rbrace`, `\}`, `\lvert`, "|", `\rvert`, "|", `\vert`, "|", `\mid`, "|",
	`\leqslant`, `\le`, `\geqslant`, `\ge`, `\leq`, `\le`, `\geq`, `\ge`, `\neq`, `\ne`, `\lt`, "<", `\gt`, ">", `\varnothing`, `\emptyset`, `\colon`, ":", `\cdotp`, `\cdot`,
	`\dots`, "...", `\ldots`, "...", `\cdots`, "...", "€", "", "£", "", `\langle`, "(", `\rangle`, ")", `\lbrack`, "[", `\rbrack`, "]", `\dbinom`, `\binom`, `\tbinom`, `\binom`)

// clean brings an answer to the notation that the parser reads.
func clean(s string) string {
	s = strings.TrimSpace(s)
	for _, d := range [][2]string{{"$$", "$$"}, {"$", "$"}, {`\(`, `\)`}, {`\[`, `\]`}} {
		if len(s) > len(d[0])+len(d[1]) && strings.HasPrefix(s, d[0]) && strings.HasSuffix(s, d[1]) && !strings.HasSuffix(s, `\$`) {
			s = strings.TrimSpace(s[len(d[0]) : len(s)-len(d[1])])
		}
	}
	if t := strings.TrimSuffix(strings.TrimPrefix(s, "**"), "**"); len(t) == len(s)-4 {
		s = strings.TrimSpace(t) // Markdown's bold
	}
	s = strings.ReplaceAll(s, `\\`, newRow)
	s = symbols.Replace(s)
	if strings.Contains(s, "{,}") || strings.Contains(s, `,\!`) {
		for range 3 { // 1,\!000,\!000 overlaps
			s = thousandsTeX.ReplaceAllString(s, "$1,$2")
		}
	}
	s = spellings.Replace(s)
	tex := strings.Contains(s, `\`) // most answers are plain numbers: the patterns are the slow part
	if strings.Contains(s, newRow) {
		s = rowSpace.ReplaceAllString(s, newRow)
	}
	if tex {
		s = unitLetter.ReplaceAllString(s, " $1 ")
		s = sized.ReplaceAllString(s, "")
		s = strings.ReplaceAll(s, `\{`, setOpen)
		s = strings.ReplaceAll(s, `\}`, setClose)
		s = fracs.ReplaceAllString(s, `\frac`)
	}
	if tex || strings.ContainsAny(s, "~\u00a0") {
		s = spaces.ReplaceAllString(s, " ")
	}
	if tex || strings.Contains(s, "°") || strings.Contains(s, "degree") {
		s = degrees.ReplaceAllString(s, degree)
	}
	s = strings.ReplaceAll(s, "$", "")
	if tex || strings.Contains(s, "∈") {
		s = memberOf.ReplaceAllString(s, "")
	}
	s = strings.TrimRight(strings.TrimSpace(s), ".,;: ")
	for range 3 {
		if !tex {
			break
		}
		t := unitText.ReplaceAllString(s, "")
		if strings.TrimSpace(t) == "" || strings.HasSuffix(strings.TrimSpace(t), "=") {
			break
		}
		s = strings.TrimSpace(t)
	}
	if tex {
		s = plainText.ReplaceAllString(s, " $1 ")
	}
	if strings.ContainsFunc(s, unicode.IsLetter) {
		s = unitWord.ReplaceAllString(s, "$1")
	}
	return strings.TrimRight(strings.TrimSpace(s), ".,;: ")
}

// asText is what two answers that are no mathematics must have in common. Braces
// stay: \frac{1}{12} is not \frac{11}{2}.
func asText(s string) string { return cleanText(clean(s)) }

// cleanText is asText of what is clean.
func cleanText(s string) string {
	s = strings.ToLower(strings.ReplaceAll(s, degree, ""))
	for _, article := range []string{"the ", "a ", "an "} {
		s = strings.TrimPrefix(s, article)
	}
	if !strings.ContainsAny(s, "\\{}^_0123456789+=<>") {
		s = ornaments.Replace(s) // words only
	}
	return strings.Join(strings.Fields(s), "")
}

var ornaments = strings.NewReplacer("(", "", ")", "", "*", "", `"`, "", "'", "", "’", "", ".", "")
