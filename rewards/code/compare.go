package code

import "bytes"

// blank is what counts as white space at the end of a line.
const blank = " \t\r\v\f"

// differsAt compares a program's output with what a test wants: line by line, white
// space at the end of lines and blank lines at the end left out. It returns the first
// line that differs, from 1; 0: none does.
func differsAt(got, want []byte) (line int) {
	got, want = bytes.TrimRight(got, blank+"\n"), bytes.TrimRight(want, blank+"\n")
	for line = 1; ; line++ {
		g, gRest, gMore := bytes.Cut(got, []byte("\n"))
		w, wRest, wMore := bytes.Cut(want, []byte("\n"))
		if !bytes.Equal(bytes.TrimRight(g, blank), bytes.TrimRight(w, blank)) {
			return line
		}
		if gMore != wMore {
			return line + 1
		}
		if !gMore {
			return 0
		}
		got, want = gRest, wRest
	}
}
