package ledger

// FailWrites makes every further write of w fail, as a full or broken disk does.
func FailWrites(w *Writer) { w.file.Close() }
