package main

import (
	"bytes"
	"os"
	"testing"
)

func TestTheTableIsUpToDate(t *testing.T) {
	asm, names, err := generate("../symbols")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]byte{"../stubs_linux_amd64.S": asm, "../names.c": names} {
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what symbols/*.txt make: run `go generate ./internal/cudashim`", file)
		}
	}
}
