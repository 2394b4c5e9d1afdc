package language

import (
	"regexp"
	"strings"
)

// neutral matches what belongs to no language: fenced and inline code, TeX,
// environments and commands, links, tags.
var neutral = regexp.MustCompile("(?s)```.*?(?:```|$)|~~~.*?(?:~~~|$)|`[^`\n]*`" +
	`|\$\$.*?\$\$|\\\[.*?\\\]|\\\(.*?\\\)|\$[^$\n]{1,500}\$|\\begin\{([a-z*]+)\}.*?\\end\{[a-z*]+\}` +
	`|\\boxed\s*\{[^{}]*\}|\\[a-zA-Z]+|https?://\S+|www\.\S+|</?[a-zA-Z][a-zA-Z0-9_-]*/?>`)

// Strip replaces what belongs to no language by spaces.
func Strip(text string) string {
	if !strings.ContainsAny(text, "`~$\\<") && !strings.Contains(text, "http") && !strings.Contains(text, "www.") {
		return text // nothing to find: the pattern is slow on long texts
	}
	// RE2 takes linear time; the lazy alternatives end at their first closing mark.
	return neutral.ReplaceAllStringFunc(text, func(m string) string {
		if strings.Contains(m, "\n") {
			return "\n"
		}
		return " "
	})
}
