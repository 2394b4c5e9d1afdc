// Package wire encodes what crosses a process boundary, or outlives one, as Apache
// Arrow: groups of rollouts (schema rollout/1) and their scores (score/1), and
// archives a run as Parquet that DuckDB, pandas and Polars read.
//
//	data, err := wire.EncodeGroups(groups)
//	groups, err := wire.DecodeGroupsOf(ref.SHA256, data) // verifies, then decodes
//
// The schema's metadata carries grouse.schema and grouse.version. Readers take
// the versions they know, ignore columns they do not, and refuse newer versions by
// name. testdata holds a golden file per version.
//
// Encoding is deterministic: equal groups make equal bytes, so a digest names a
// batch. Bytes must be verified against their digest before they are decoded: a
// few flipped bits can make Arrow's reader ask for more memory than there is, which a
// Go program does not survive.
package wire
