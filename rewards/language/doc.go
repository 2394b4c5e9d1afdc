// Package language rewards completions that are written in the language they should
// be in: the share of their words that are in the target language (DeepSeek-R1's
// R_lang, arXiv:2501.12948, eq. 7).
//
// Code blocks, inline code, TeX and links belong to no language and are dropped. A
// word is a run of letters; each Han or kana character is a word. The script
// decides where it can: Han in a sentence with kana is Japanese, else Chinese. Within
// the Latin script a sentence is given to the language of most of its function
// words and letters.
package language
