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
	ext := strings.ToLower(filepath.Ext(path))
	if ext == ".parquet" {
		rows, err := wire.ReadParquetRows(path)
		if err != nil {
			return err
		}
		for i, r := range rows {
			s.Rows = append(s.Rows, Row{Where: fmt.Sprintf("%s row %d", name, i+1), Columns: r})
		}
		return nil
	}
	br := bufio.NewReaderSize(f, 1<<16)
	if err := textStart(br, name); err != nil {
		return err
	}
	switch ext {
	case ".jsonl", ".ndjson":
		return s.readLines(br, name, o)
	case ".json":
		return s.readJSON(br, name, o)
	case ".csv":
		return s.readCSV(br, name, o)
	}
	return grouse.Errorf(grouse.Invalid, "data: %s: cannot read %q files", path, ext).WithFix("supported: %s", strings.Join(extensions, ", "))
}

// textStart steps over a byte order mark and refuses what is not text in UTF-8.
func textStart(br *bufio.Reader, name string) error {
	head, err := br.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return grouse.Errorf(grouse.Unavailable, "data: %s: %w", name, err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err := br.Discard(3)
		return err
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return grouse.Errorf(grouse.Invalid, "data: %s is UTF-16", name).WithFix("save it as UTF-8: iconv -f UTF-16 -t UTF-8 %s", name)
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return grouse.Errorf(grouse.Invalid, "data: %s is compressed (gzip)", name).WithFix("unpack it first: gunzip")
	}
	return nil
}

func (s *Set) readLines(br *bufio.Reader, name string, o Options) error {
	for n := 1; ; n++ {
		line, err := readLine(br)
		last := errors.Is(err, io.EOF)
		where := fmt.Sprintf("%s:%d", name, n)
		switch {
		case errors.Is(err, errLongLine):
			if err := s.bad(o, fmt.Errorf("%s: %w", where, err)); err != nil {
				return err
			}
			continue
		case err != nil && !last:
			return grouse.Errorf(grouse.Unavailable, "data: %s: %w", where, err)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
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

var errLongLine = fmt.Errorf("a line of over %d MiB", maxLine>>20)

// readLine reads up to a newline. Of a line over maxLine bytes it keeps nothing
// and returns errLongLine after its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if !long {
			line = append(line, part...)
		}
		if len(line) > maxLine {
			line, long = nil, true
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if long && (err == nil || errors.Is(err, io.EOF)) {
			return nil, errLongLine
		}
		return line, err
	}
}

// object parses one row.
func object(line []byte) (map[string]any, error) {
	if err := text(line); err != nil {
		return nil, err
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

func text(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return errors.New("a NUL byte")
	}
	return nil
}

// readJSON reads an array of objects.
func (s *Set) readJSON(r io.Reader, name string, o Options) error {
	notRows := func(err error) error {
		return grouse.Errorf(grouse.Invalid, "data: %s: not an array of objects: %w", name, err).WithFix("a file of one object a line is .jsonl")
	}
	dec := json.NewDecoder(r)
	if tok, err := dec.Token(); err != nil || tok != json.Delim('[') {
		if err == nil {
			err = fmt.Errorf("it begins with %v", tok)
		}
		return notRows(err)
	}
	for i := 0; dec.More(); i++ {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return notRows(fmt.Errorf("row %d: %w", i, err))
		}
		where := fmt.Sprintf("%s[%d]", name, i)
		columns, err := object(raw)
		if err != nil {
			if err := s.bad(o, fmt.Errorf("%s: %w", where, err)); err != nil {
				return err
			}
			continue
		}
		s.Rows = append(s.Rows, Row{Where: where, Columns: columns})
	}
	if _, err := dec.Token(); err != nil {
		return notRows(err)
	}
	return nil
}

// readCSV reads a table whose first line names the columns. All values are text.
func (s *Set) readCSV(r io.Reader, name string, o Options) error {
	cr := csv.NewReader(r)
	header, err := cr.Read()
	if err != nil {
		return grouse.Errorf(grouse.Invalid, "data: %s: its first line names no columns: %w", name, err)
	}
	seen := map[string]bool{}
	for _, h := range header {
		if h == "" || seen[h] {
			return grouse.Errorf(grouse.Invalid, "data: %s: column %q in the first line is empty or there twice", name, h)
		}
		seen[h] = true
	}
	for {
		record, err := cr.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = text([]byte(strings.Join(record, "")))
		}
		if err != nil {
			var parse *csv.ParseError
			where := name
			if errors.As(err, &parse) {
				where, err = fmt.Sprintf("%s:%d", name, parse.Line), parse.Err
			} else if len(record) > 0 {
				line, _ := cr.FieldPos(0)
				where = fmt.Sprintf("%s:%d", name, line)
			}
			if err := s.bad(o, fmt.Errorf("%s: %w", where, err)); err != nil {
				return err
			}
			continue
		}
		line, _ := cr.FieldPos(0)
		columns := map[string]any{}
		for i, v := range record {
			columns[header[i]] = v
		}
		s.Rows = append(s.Rows, Row{Where: fmt.Sprintf("%s:%d", name, line), Columns: columns})
	}
}
