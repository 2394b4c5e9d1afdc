package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/grouse-rl/grouse"
)

const segmentsDir = "ledger"

var segmentName = regexp.MustCompile(`^([0-9]{6})\.seg$`)

// position is where a record lies.
type position struct {
	segment int   // number of the segment
	offset  int64 // of its first byte
	length  int   // with its head
}

// end is what a reading of the whole ledger found.
type end struct {
	seq     uint64
	last    [sha256.Size]byte
	segment int   // number of the last segment; 0: there is none
	offset  int64 // end of the last whole record in it
	torn    int64 // bytes after that
}

// Read returns the ledger of the run in dir, record by record, with the chain
// of hashes verified. It takes no lock and changes nothing, so it may be used
// while a writer is at work; a tail that is torn, or not yet written, ends it.
// The last pair holds the error that ended it: Corrupt if a record is not what
// was written, NotFound if there is no ledger.
func Read(dir string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if _, err := os.Stat(filepath.Join(dir, segmentsDir)); errors.Is(err, fs.ErrNotExist) {
			yield(Entry{}, grouse.Errorf(grouse.NotFound, "no ledger in %s", dir))
			return
		}
		stopped := false
		_, err := scan(dir, func(e Entry, _ position) error {
			if !yield(e, nil) {
				stopped = true
				return errStop
			}
			return nil
		})
		if err != nil && !stopped {
			yield(Entry{}, err)
		}
	}
}

// Verify reads the whole ledger of the run in dir and returns its number of
// records and the digest of the last one.
func Verify(dir string) (records uint64, head [sha256.Size]byte, err error) {
	for e, err := range Read(dir) {
		if err != nil {
			return records, head, err
		}
		records, head = e.Seq, e.SHA256
	}
	return records, head, nil
}

var errStop = errors.New("stop")

// scan calls visit for every record, in order.
func scan(dir string, visit func(Entry, position) error) (end, error) {
	var at end
	numbers, err := segments(dir)
	if err != nil {
		return at, err
	}
	for i, number := range numbers {
		if number != i+1 {
			return at, grouse.Errorf(grouse.Corrupt, "ledger %s: segment %s is missing", dir, segmentFile(i+1)).
				WithFix("restore it from a copy of the run's folder")
		}
		data, err := os.ReadFile(filepath.Join(dir, segmentsDir, segmentFile(number)))
		if err != nil {
			return at, fmt.Errorf("read ledger: %w", err)
		}
		at.segment, at.offset, at.torn = number, 0, 0
		if err := scanSegment(dir, data, number == len(numbers), &at, visit); err != nil {
			return at, err
		}
	}
	return at, nil
}

func scanSegment(dir string, data []byte, isLast bool, at *end, visit func(Entry, position) error) error {
	for int(at.offset) < len(data) {
		rest := data[at.offset:]
		e, n, err := parseFrame(rest)
		if err == nil && e.Seq != at.seq+1 {
			err = fmt.Errorf("sequence number %d, want %d", e.Seq, at.seq+1)
		}
		if err == nil && e.Prev != at.last {
			err = fmt.Errorf("it does not follow the record before it")
		}
		if err != nil {
			if isLast && n == 0 && !recordAfter(rest, at.seq+1) {
				at.torn = int64(len(rest))
				return nil
			}
			return grouse.Errorf(grouse.Corrupt, "ledger %s: %s, record %d at byte %d: %w", dir, segmentFile(at.segment), at.seq+1, at.offset, err).
				WithFix("restore this segment from a copy; the checkpoints before step records that are lost are still whole")
		}
		if err := visit(e, position{segment: at.segment, offset: at.offset, length: n}); err != nil {
			return err
		}
		at.seq, at.last = e.Seq, e.SHA256
		at.offset += int64(n)
	}
	return nil
}

// recordAfter reports whether a whole record lies somewhere in data after its
// first byte: then what is at its start is damage, not a tail that a crash tore.
func recordAfter(data []byte, seq uint64) bool {
	const reach = 1 << 20 // how far ahead a sequence number may plausibly be
	for i := 1; i+headLen+fixedLen <= len(data); i++ {
		if got := binary.LittleEndian.Uint64(data[i+headLen+1:]); got < seq || got > seq+reach {
			continue
		}
		if _, _, err := parseFrame(data[i:]); err == nil {
			return true
		}
	}
	return false
}

// segments returns the numbers of the segments, ascending.
func segments(dir string) ([]int, error) {
	files, err := os.ReadDir(filepath.Join(dir, segmentsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	var numbers []int
	for _, f := range files {
		if m := segmentName.FindStringSubmatch(f.Name()); m != nil {
			n, _ := strconv.Atoi(m[1]) // six digits
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func segmentFile(number int) string { return fmt.Sprintf("%06d.seg", number) }
