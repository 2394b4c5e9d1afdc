// Package length rewards short enough completions: DAPO's soft overlong punishment
// and the length penalty of DeepSeek-V3.2's role, with Kimi's formula as a choice.
// Lengths are in tokens and include the end token.
package length
