// Package ledger is the write-ahead log of a run: what was drawn, sampled,
// scored, committed, trained, saved. Checkpoint and ledger together are what a
// database calls a checkpoint and its log.
//
//	w, err := ledger.Open(dir, ledger.Options{})    // takes the lock, cuts a torn tail
//	sum, err := w.PutBlob(ctx, groups)              // durable when it returns
//	err = w.Append(ctx, grouse.BatchRecord{...})    // durable when it returns
//	rec, err := w.Find(grouse.RecordStep, grouse.StepKey(0, 17))
//
// # On disk
//
//	LOCK                    flock of the one writer; holds its epoch, pid and host
//	ledger/000001.seg       records, until 64 MiB, then 000002.seg
//	blobs/<sha256>.arrow    bulk bytes, written and fsynced before the record that names them
//
// A record is, little endian,
//
//	u32 length   of everything after the crc
//	u32 crc32c   of everything after itself
//	u8  kind     see kinds
//	u64 seq      from 1, through all segments
//	[32] prev    the record before's sha256; zeros in the first
//	payload      canonical JSON: sorted keys, no spaces
//	[32] sha256  of kind, seq, prev and payload
//
// # Promises
//
// What Append acknowledged is there after a power cut, provided that the disk
// keeps what it says it synced. A tail that a crash tore is cut when the
// ledger is opened; damage anywhere else is a Corrupt error that names segment
// and record, and nothing is changed. One process writes: the second gets an
// error naming the first. A writer whose epoch is no longer the newest is
// refused (Stale). After a failed write or sync a writer refuses everything
// until it is opened anew, since what is on disk is then unknown.
//
// The package does not decide anything: what a record means is said by the
// record types of package grouse.
package ledger
