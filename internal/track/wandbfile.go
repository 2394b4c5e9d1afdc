package track

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/grouse-rl/grouse"
)

// wandbOffline writes the folder that `wandb sync` reads: offline-run-ID with
// one file of records. It is written anew when a run goes on: it holds every
// row once, whatever died when.
type wandbOffline struct {
	run    Run
	params wandbParams
	dir    string // holds offline-run-*: what W&B calls the wandb folder

	file    *os.File
	log     *recordLog
	began   int64
	num     int64
	summary wandbSummary
}

func newWandbOffline(run Run, p wandbParams) *wandbOffline {
	return &wandbOffline{run: run, params: p, dir: filepath.Join(run.Dir, "wandb")}
}

// folder is what `wandb sync` is given.
func (w *wandbOffline) folder() string { return filepath.Join(w.dir, "offline-run-"+w.run.ID) }

// Open begins the file.
func (w *wandbOffline) Open(context.Context, cursor) (cursor, error) {
	if w.file != nil {
		w.file.Close()
	}
	for _, sub := range []string{"files", "logs"} {
		if err := os.MkdirAll(filepath.Join(w.folder(), sub), 0o755); err != nil {
			return cursor{}, grouse.Errorf(grouse.Unavailable, "wandb: %w", err)
		}
	}
	f, err := os.Create(filepath.Join(w.folder(), "run-"+w.run.ID+".wandb"))
	if err != nil {
		return cursor{}, grouse.Errorf(grouse.Unavailable, "wandb: %w", err)
	}
	w.file, w.log, w.num, w.began, w.summary = f, newRecordLog(f), 0, 0, wandbSummary{}
	return cursor{}, nil
}

// The field numbers below are those of wandb/proto/wandb_internal.proto.

// record writes a Record with one field.
func (w *wandbOffline) record(field protowire.Number, content []byte) {
	w.num++
	b := protowire.AppendTag(nil, 1, protowire.VarintType) // num
	b = protowire.AppendVarint(b, uint64(w.num))
	b = protowire.AppendTag(b, field, protowire.BytesType)
	w.log.write(protowire.AppendBytes(b, content))
}

// begin writes header, run and axis. The run's start is its first row's time.
func (w *wandbOffline) begin(first *Point) error {
	w.began = first.At.Unix()
	version := text(text(nil, 1, "grouse"), 2, "0.70.0") // producer, min_consumer
	w.record(21, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), version))

	plain, err := w.run.config()
	if err != nil {
		return grouse.Errorf(grouse.Internal, "wandb: the recipe: %w", err)
	}
	keys := make([]string, 0, len(plain))
	for k := range plain {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var config []byte
	for _, k := range keys {
		raw, err := json.Marshal(plain[k])
		if err != nil {
			return grouse.Errorf(grouse.Internal, "wandb: the recipe: %w", err)
		}
		item := text(text(nil, 1, k), 16, string(raw)) // key, value_json
		config = protowire.AppendBytes(protowire.AppendTag(config, 1, protowire.BytesType), item)
	}
	run := text(nil, 1, w.run.ID) // run_id
	if w.params.Entity != "" {
		run = text(run, 2, w.params.Entity)
	}
	run = text(run, 3, w.params.project())
	run = protowire.AppendBytes(protowire.AppendTag(run, 4, protowire.BytesType), config)
	if w.params.Group != "" {
		run = text(run, 6, w.params.Group)
	}
	run = text(run, 8, w.run.Name) // display_name
	if d := w.run.Spec.Description; d != "" {
		run = text(run, 9, d) // notes
	}
	for _, tag := range w.params.Tags {
		run = text(run, 10, tag)
	}
	start := protowire.AppendTag(nil, 1, protowire.VarintType) // Timestamp.seconds
	start = protowire.AppendVarint(start, uint64(w.began))
	run = protowire.AppendBytes(protowire.AppendTag(run, 17, protowire.BytesType), start)
	w.record(17, run)

	defined := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 1)
	axis := protowire.AppendBytes(protowire.AppendTag(text(nil, 1, wandbAxis), 6, protowire.BytesType), defined)
	w.record(12, axis)
	synced := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
	synced = append(synced, defined...)
	all := text(text(nil, 2, "*"), 4, wandbAxis) // glob_name, step_metric
	w.record(12, protowire.AppendBytes(protowire.AppendTag(all, 6, protowire.BytesType), synced))
	return nil
}

func text(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// items appends key and value of each: HistoryItem and SummaryItem have the same
// numbers.
func (w *wandbOffline) items(items []wandbItem) []byte {
	var b []byte
	for _, it := range items {
		item := text(text(nil, 2, it.key), 16, it.value) // nested_key: a slash does not divide it; value_json
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), item)
	}
	return b
}

// Log appends rows.
func (w *wandbOffline) Log(_ context.Context, points []Point) (json.RawMessage, error) {
	if w.num == 0 {
		if err := w.begin(&points[0]); err != nil {
			return nil, err
		}
	}
	for i := range points {
		items := wandbItems(&points[i], w.began)
		w.summary.add(items)
		w.record(3, w.items(items)) // summary.update
		w.history(items, points[i].Row)
	}
	return nil, w.flush()
}

// history writes a row.
func (w *wandbOffline) history(items []wandbItem, row int64) {
	step := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(row))
	w.record(2, protowire.AppendBytes(protowire.AppendTag(w.items(items), 2, protowire.BytesType), step))
}

func (w *wandbOffline) flush() error {
	if err := w.log.w.Flush(); err != nil {
		return grouse.Errorf(grouse.Unavailable, "wandb: %w", err)
	}
	return nil
}

// Close ends the file, with an exit record if the run is finished.
func (w *wandbOffline) Close(_ context.Context, finished bool) error {
	if finished && w.num > 0 {
		w.record(18, nil) // exit, code 0
	}
	if err := w.flush(); err != nil {
		w.file.Close()
		return err
	}
	return w.file.Close()
}

// recordLog is LevelDB's log format as W&B writes it: after 7 bytes of header,
// blocks of 32 KiB with records cut into fragments, each behind its CRC-32 (IEEE),
// length (u16) and type.
type recordLog struct {
	w  *bufio.Writer
	at int // in the block
}

const (
	logBlock  = 32 << 10
	logHeader = 7 // of a fragment, and of the file
)

func newRecordLog(f *os.File) *recordLog {
	w := bufio.NewWriter(f)
	_, _ = w.WriteString(":W&B\xe1\xbe\x00") // magic 0xBEE1, version 0; Flush tells the error
	return &recordLog{w: w, at: logHeader}
}

// write appends a record. An error shows when the writer is flushed.
func (l *recordLog) write(data []byte) {
	for first := true; ; first = false {
		if left := logBlock - l.at; left < logHeader {
			_, _ = l.w.Write(make([]byte, left))
			l.at = 0
		}
		n := min(len(data), logBlock-l.at-logHeader)
		kind := byte(3) // middle
		switch last := n == len(data); {
		case first && last:
			kind = 1
		case first:
			kind = 2
		case last:
			kind = 4
		}
		sum := crc32.ChecksumIEEE(append([]byte{kind}, data[:n]...))
		head := binary.LittleEndian.AppendUint32(nil, sum)
		head = binary.LittleEndian.AppendUint16(head, uint16(n))
		_, _ = l.w.Write(append(head, kind))
		_, _ = l.w.Write(data[:n])
		l.at = (l.at + logHeader + n) % logBlock
		if data = data[n:]; len(data) == 0 {
			return
		}
	}
}
