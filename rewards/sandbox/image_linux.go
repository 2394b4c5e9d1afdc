//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"
)

// The launcher's address space: its text, the data that calls point at, and the
// report followed by the calls.
const (
	textAddress   = 0x10000000
	dataAddress   = 0x20000000
	reportAddress = 0x30000000
	opsAddress    = reportAddress + reportSize
	reportSize    = 64
	opSize        = 80
	pageSize      = 0x10000 // the largest page of either architecture
)

// The report's words, at reportAddress: what a failed call left, and a place for
// results that nobody wants.
const (
	reportKind    = 0 // 0: a call failed
	reportScratch = 24
)

// launcherAddress is where launcher_*.s is in our own text. It is copied, not called.
var launcherAddress uintptr

// launcherMark ends the launcher's text.
var launcherMark = []byte("grouse!!")

// launcherText returns the launcher's machine code.
func launcherText() []byte {
	const most = 4096
	text := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&launcherAddress))), most)
	for i := range most - len(launcherMark) {
		if bytes.Equal(text[i:i+len(launcherMark)], launcherMark) {
			return bytes.Clone(text[:i])
		}
	}
	panic("sandbox: the launcher's text has no end")
}

// op is one system call of a launch.
type op struct {
	what    string     // for errors: "mount /usr"
	number  uintptr    //
	args    [6]uintptr // numbers, or addresses of data
	result  uintptr    // address that the result is stored at; 0: nowhere
	mayFail bool       // go on if it fails
	child   int        // 1-based index of the call that the child of a clone goes on with; 0: none
}

// program is a launch: system calls in order and the data that they point at. The
// zero value is empty and ready.
type program struct {
	ops  []op
	data []byte
}

// bytes places data, aligned to 8, and returns its address.
func (p *program) bytes(b []byte) uintptr {
	for len(p.data)%8 != 0 {
		p.data = append(p.data, 0)
	}
	at := dataAddress + uintptr(len(p.data))
	p.data = append(p.data, b...)
	return at
}

// text places a NUL-terminated string.
func (p *program) text(s string) uintptr { return p.bytes(append([]byte(s), 0)) }

// words places 64-bit words.
func (p *program) words(w ...uint64) uintptr {
	var b []byte
	for _, v := range w {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return p.bytes(b)
}

// strings places a NULL-terminated array of strings, as execve wants it.
func (p *program) strings(list []string) uintptr {
	words := make([]uint64, 0, len(list)+1)
	for _, s := range list {
		words = append(words, uint64(p.text(s)))
	}
	return p.words(append(words, 0)...)
}

// call adds a system call and returns it, to be amended.
func (p *program) call(what string, number uintptr, args ...uintptr) *op {
	o := op{what: what, number: number}
	copy(o.args[:], args)
	p.ops = append(p.ops, o)
	return &p.ops[len(p.ops)-1]
}

// argument returns the address of an argument of the next call to be added, so
// that an earlier call's result becomes it.
func (p *program) argument(n int) uintptr {
	return opsAddress + uintptr(len(p.ops))*opSize + 8 + 8*uintptr(n)
}

// image returns the program as an ELF file.
func (p *program) image() []byte {
	var table []byte
	table = append(table, make([]byte, reportSize)...)
	for _, o := range p.ops {
		table = binary.LittleEndian.AppendUint64(table, uint64(o.number))
		for _, a := range o.args {
			table = binary.LittleEndian.AppendUint64(table, uint64(a))
		}
		result := o.result
		if result == 0 {
			result = reportAddress + reportScratch
		}
		table = binary.LittleEndian.AppendUint64(table, uint64(result))
		var mayFail, child uint64
		if o.mayFail {
			mayFail = 1
		}
		if o.child > 0 {
			child = opsAddress + uint64(o.child-1)*opSize
		}
		table = binary.LittleEndian.AppendUint64(table, mayFail)
		table = binary.LittleEndian.AppendUint64(table, child)
	}
	machine := elf.EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = elf.EM_AARCH64
	}
	parts := []struct {
		address uint64
		flags   elf.ProgFlag
		body    []byte
	}{
		{textAddress, elf.PF_R | elf.PF_X, launcherText()},
		{dataAddress, elf.PF_R | elf.PF_W, append(bytes.Clone(p.data), 0)},
		{reportAddress, elf.PF_R | elf.PF_W, table},
	}
	const headerSize, progSize = 64, 56
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Entry: textAddress,
		Phoff: headerSize, Ehsize: headerSize, Phentsize: progSize, Phnum: uint16(len(parts)),
	}
	copy(header.Ident[:], "\x7fELF")
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	var out bytes.Buffer
	binary.Write(&out, binary.LittleEndian, &header) // to memory: never fails
	offset := uint64(pageSize)
	for _, part := range parts {
		size := uint64(len(part.body))
		binary.Write(&out, binary.LittleEndian, &elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(part.flags), Off: offset, Vaddr: part.address, Paddr: part.address, Filesz: size, Memsz: size, Align: pageSize,
		})
		offset += (size + pageSize - 1) / pageSize * pageSize
	}
	for _, part := range parts {
		out.Write(make([]byte, (pageSize-out.Len()%pageSize)%pageSize))
		out.Write(part.body)
	}
	return out.Bytes()
}

// failure reads a report of a call that failed.
func (p *program) failure(address, result uint64) (what string, errno uintptr) {
	i := int((address - opsAddress) / opSize)
	if address < opsAddress || i >= len(p.ops) {
		return fmt.Sprintf("system call at %#x", address), uintptr(-int64(result))
	}
	return p.ops[i].what, uintptr(-int64(result))
}
