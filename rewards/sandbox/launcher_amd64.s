#include "textflag.h"

// launcher runs the list of system calls at opsAddress: see launcher.go. It is the
// whole text of the program that a sandbox starts as, copied into an ELF image; it
// is never called here. It uses no stack and no data but the list and the report.
//
//	R12 the call at work   R13 the report
TEXT ·launcher(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ $0x30000040, R12
	MOVQ $0x30000000, R13
next:
	MOVQ 0(R12), AX
	MOVQ 8(R12), DI
	MOVQ 16(R12), SI
	MOVQ 24(R12), DX
	MOVQ 32(R12), R10
	MOVQ 40(R12), R8
	MOVQ 48(R12), R9
	SYSCALL
	MOVQ 56(R12), BX
	MOVQ AX, 0(BX)
	CMPQ AX, $-4095
	JCC  failed
	MOVQ 72(R12), BX
	TESTQ BX, BX
	JZ   step
	TESTQ AX, AX
	JNZ  step
	MOVQ BX, R12 // zero: the child of a clone
	JMP  next
step:
	ADDQ $80, R12
	JMP  next
failed:
	MOVQ 64(R12), BX
	TESTQ BX, BX
	JNZ  step // may fail
	MOVQ R12, 8(R13)
	MOVQ AX, 16(R13)
	MOVQ $1, AX // write(3, report, 24)
	MOVQ $3, DI
	MOVQ R13, SI
	MOVQ $24, DX
	SYSCALL
	MOVQ $231, AX // exit_group(125)
	MOVQ $125, DI
	SYSCALL
	BYTE $0x0f; BYTE $0x0b // end of the launcher: ud2 and a mark
	BYTE $0x67; BYTE $0x72; BYTE $0x6f; BYTE $0x75; BYTE $0x73; BYTE $0x65; BYTE $0x21; BYTE $0x21
	RET

// launcherAddress is where the text is.
DATA ·launcherAddress(SB)/8, $·launcher(SB)
GLOBL ·launcherAddress(SB), NOPTR|RODATA, $8
