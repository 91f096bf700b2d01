# One entry a vector, 16 bytes each, so that entry N is at exception_entries + 16 * N. Each makes the stack look alike:
# error code (0 where the processor gives none), then the vector on top; the rest is common.

.section .text.exceptions, "ax", @progbits
.code64
.balign 16
.globl exception_entries
.type exception_entries, @function
exception_entries:
.set vector, 0
.rept {vectors}
    .balign 16
    .if (vector < 32) && (({vectors_with_error_code} >> vector) & 1)
    .else
    push 0
    .endif
    push vector
    jmp exception_common
    .set vector, vector + 1
.endr
.size exception_entries, . - exception_entries

.balign 16
.type exception_common, @function
exception_common:
    cld
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    and rsp, -16
    xor ebp, ebp
    call {handler}
    ud2
.size exception_common, . - exception_common
