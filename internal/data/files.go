package data

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/wire"
)

var extensions = []string{".jsonl", ".ndjson", ".json", ".csv", ".parquet"}

// maxLine bounds a row of text.
const maxLine = 64 << 20

func (s *Set) readFile(path string, o Options) error {
	f, err := os.Open(path)
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "data: %w", err)
	}
	defer f.Close()
	name := filepath.Base(path)
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".jsonl", ".ndjson":
		return s.readLines(f, name, o)
	case ".json":
		return s.readJSON(f, name)
	case ".csv":
		return s.readCSV(f, name, o)
	case ".parquet":
		rows, err := wire.ReadParquetRows(path)
		if err != nil {
			return err
		}
		for i, r := range rows {
			s.Rows = append(s.Rows, Row{Where: fmt.Sprintf("%s row %d", name, i+1), Columns: r})
		}
		return nil
	default:
		return grouse.Errorf(grouse.Invalid, "data: %s: cannot read %q files", path, ext).WithFix("supported: %s", strings.Join(extensions, ", "))
	}
}

var byteOrderMark = []byte("\xef\xbb\xbf")

func (s *Set) readLines(r io.Reader, name string, o Options) error {
	br := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := readLine(br)
		if err != nil && !errors.Is(err, io.EOF) {
			return grouse.Errorf(grouse.Invalid, "data: %s:%d: %w", name, n, err)
		}
		last := err != nil
		if n == 1 {
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			where := fmt.Sprintf("%s:%d", name, n)
			columns, err := object(line)
			if err != nil {
				if err := s.bad(o, fmt.Errorf("%s: %w", where, err)); err != nil {
					return err
				}
			} else {
				s.Rows = append(s.Rows, Row{Where: where, Columns: columns})
			}
		}
		if last {
			return nil
		}
	}
}

// readLine reads up to a newline, at most maxLine bytes.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("line of over %d MiB", maxLine>>20)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func object(line []byte) (map[string]any, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("not UTF-8")
	}
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, errors.New("a NUL byte")
	}
	var columns map[string]any
	if err := json.Unmarshal(line, &columns); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if len(columns) == 0 {
		return nil, errors.New("an empty object")
	}
	return columns, nil
}

// readJSON reads an array of objects.
func (s *Set) readJSON(r io.Reader, name string) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "data: %s: %w", name, err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(bytes.TrimPrefix(raw, byteOrderMark), &rows); err != nil {
		return grouse.Errorf(grouse.Invalid, "data: %s: not an array of objects: %w", name, err).WithFix("a file of one object a line is .jsonl")
	}
	for i, columns := range rows {
		s.Rows = append(s.Rows, Row{Where: fmt.Sprintf("%s[%d]", name, i), Columns: columns})
	}
	return nil
}

// readCSV reads a table whose first line names the columns.
func (s *Set) readCSV(r io.Reader, name string, o Options) error {
	br := bufio.NewReader(r)
	if bom, _ := br.Peek(3); bytes.Equal(bom, byteOrderMark) {
		_, _ = br.Discard(3)
	}
	cr := csv.NewReader(br)
	header, err := cr.Read()
	if err != nil {
		return grouse.Errorf(grouse.Invalid, "data: %s: %w", name, err)
	}
	for {
		record, err := cr.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		line, _ := cr.FieldPos(0)
		where := fmt.Sprintf("%s:%d", name, line)
		if err != nil {
			if err := s.bad(o, fmt.Errorf("%s: %w", name, err)); err != nil {
				return err
			}
			continue
		}
		columns := map[string]any{}
		for i, v := range record {
			columns[header[i]] = v
		}
		s.Rows = append(s.Rows, Row{Where: where, Columns: columns})
	}
}
