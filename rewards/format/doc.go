// Package format rewards the form of a completion, whatever it says: DeepSeek-R1's
// think and answer tags, or a pattern of one's own.
package format
