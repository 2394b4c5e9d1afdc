package rewards

import "strings"

// The tags around reasoning (DeepSeek-R1, Qwen3).
const (
	ThinkOpen  = "<think>"
	ThinkClose = "</think>"
)

// Thought says whether a completion has a thinking part.
type Thought int

const (
	NoThought       Thought = iota // no tags: all of it is the answer
	ClosedThought                  // reasoning, then </think>, then the answer
	UnclosedThought                // it never stopped thinking: there is no answer
)

// SplitThinking splits a completion at its last </think>. The opening tag may lie
// in the completion or, with templates that open it, at the end of the prompt.
func SplitThinking(prompt, completion string) (thinking, answer string, thought Thought) {
	if at := strings.LastIndex(completion, ThinkClose); at >= 0 {
		return trimOpen(completion[:at]), completion[at+len(ThinkClose):], ClosedThought
	}
	if at := strings.Index(completion, ThinkOpen); at >= 0 {
		return completion[at+len(ThinkOpen):], "", UnclosedThought
	}
	if strings.HasSuffix(strings.TrimRight(prompt, " \t\r\n"), ThinkOpen) {
		return completion, "", UnclosedThought
	}
	return "", completion, NoThought
}

func trimOpen(s string) string {
	if at := strings.Index(s, ThinkOpen); at >= 0 {
		return s[at+len(ThinkOpen):]
	}
	return s
}

// AfterThinking returns what follows the last </think> of a text without a
// prompt; ok is false if a <think> was never closed.
func AfterThinking(text string) (answer string, ok bool) {
	_, answer, thought := SplitThinking("", text)
	return answer, thought != UnclosedThought
}
