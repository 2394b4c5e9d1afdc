// Package data reads the rows that a run is made of: JSON Lines, JSON, CSV and
// Parquet files, folders of them, and built-in generators of problems with
// checkable answers.
//
//	set, err := data.Load(spec, data.Options{Base: dir, OnBad: "stop"})
//	for _, row := range set.Rows { ... row.ID, row.Columns["prompt"] ... }
//
// A row keeps every column as it was read: rewards see them all. A row that
// cannot be used is an error with file and line, or is skipped and counted, as
// the recipe's on_bad_row says. Set.SHA256 names the rows: a run that is resumed
// on other data refuses.
package data
