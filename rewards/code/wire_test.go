package code

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestWire(t *testing.T) {
	frame := append([]byte{'J'}, appendValue(nil, []any{"a", []string{"b", ""}, true, false})...)
	var pipe bytes.Buffer
	if err := writeFrame(&pipe, frame); err != nil {
		t.Fatal(err)
	}
	got, err := readFrame(&pipe)
	if err != nil || !bytes.Equal(got, frame) {
		t.Fatalf("%q, %v; want %q", got, err, frame)
	}
	v, err := parseFrame(got, "J")
	if want := []any{"a", []any{"b", ""}, true, false}; err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%#v, %v; want %#v", v, err, want)
	}
	if _, err := readFrame(&pipe); err != io.EOF {
		t.Errorf("error %v at the end", err)
	}
}

func TestWireRefuses(t *testing.T) {
	float := func(s string) string { return s + strings.Repeat(" ", floatLen-len(s)) }
	good := []string{"N", "T", "i\x01\x00\x00\x00\x03", "s\x02\x00\x00\x00\xc3\xa9", "s\x03\x00\x00\x00\xed\xa0\x80", "f" + float("0x1.8p+1"), "f" + float("-inf"), "c" + float("nan") + float("0x0.0p+0"),
		"h\x00\x00\x00\x00\x00\x00\x00\x00", "l\x02\x00\x00\x00NT", "d\x01\x00\x00\x00Tl\x00\x00\x00\x00", "S\x01\x00\x00\x00t\x01\x00\x00\x00N"}
	for _, s := range good {
		if err := checkFrame([]byte("V"+s), fromProgram); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	bad := []string{"", "N", "RN", "V", "VNN", "Vq", "Vi\x02\x00\x00\x00\x03", "Vi\xff\xff\xff\xff", "Vs\x01\x00\x00\x00\xff", "Vf1.5", "Vf" + float("1.5"), "Vf" + float("0x1p+99999"), "Vf" + float("0x_1p0"),
		"Vl\xff\xff\xff\xff", "Vl\x02\x00\x00\x00N", "VS\x01\x00\x00\x00l\x00\x00\x00\x00", "Vd\x01\x00\x00\x00l\x00\x00\x00\x00N", "VS\x01\x00\x00\x00t\x01\x00\x00\x00S\x00\x00\x00\x00", "Vh\x00", "Vn\x03\x00\x00\x00int",
		"V" + strings.Repeat("l\x01\x00\x00\x00", maxDepth+1) + "N"}
	for _, s := range bad {
		if err := checkFrame([]byte(s), fromProgram); !errors.Is(err, errWire) {
			t.Errorf("%q: error %v", s, err)
		}
	}
	for _, head := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\xff"} {
		if _, err := readFrame(strings.NewReader(head + "V")); !errors.Is(err, errWire) {
			t.Errorf("length %q: error %v", head, err)
		}
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte("Vl\x02\x00\x00\x00Ni\x01\x00\x00\x00\x03"))
	f.Add([]byte("Bt\x03\x00\x00\x00i\x01\x00\x00\x00\x00l\x00\x00\x00\x00d\x00\x00\x00\x00"))
	f.Add([]byte("Ed\x01\x00\x00\x00s\x01\x00\x00\x00af0x1.8p+1                        "))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseFrame(b, fromProgram)
		if err != nil {
			if !errors.Is(err, errWire) {
				t.Fatal(err)
			}
			return
		}
		_ = exception(append([]byte{'E'}, b[1:]...))
		_, _ = verdict(v, 3)
		// What is accepted is accepted through a pipe too.
		var pipe bytes.Buffer
		writeFrame(&pipe, b)
		if again, err := readFrame(&pipe); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q comes back as %q, %v", b, again, err)
		}
	})
}
