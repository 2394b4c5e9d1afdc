// Package match compares an answer with a column of the data row: as text (exact),
// as a number (numeric), as the letter or text of a choice (choice), by a pattern
// (regex). Each scores 1 for a match, else 0, and says so as a verdict.
//
// What is compared is the completion's answer part: what follows </think>, if it
// was thinking.
package match
