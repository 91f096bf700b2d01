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
    push [rdi + {rip}]              # as if the interrupted code had called the handler: for backtraces
    push rbp
    mov rbp, rsp
    and rsp, -16
    call {handler}

    # Masked, whatever the gate's type, if interrupts are to be unmasked, which takes the place of the vector. Else they are
    # as they were: after a page fault, or an interrupt that was noted down, on PVM others may come anywhere below.
    lea rsp, [rbp + 16]
    mov [rsp + {vector}], rax
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    cmp byte ptr [rsp], 0
    lea rsp, [rsp + 16]
    je 3f
    # On PVM iretq can't unmask, so that is done first, and the next interrupt may come before iretq. What that one has to
    # return to is then this very iretq. Instead its frame is dropped and the one above it used, so that frames never pile
    # up. At ring 0 sti does no harm: iretq is in its shadow.
    cmp qword ptr [rsp], offset return_from_interrupt
    jne 2f
    mov rsp, [rsp + 24]
2:  sti
return_from_interrupt:
    iretq
    # Nothing is to be unmasked: on PVM interrupts are as they were, and at ring 0 iretq brings the flag back.
3:  iretq
.size exception_common, . - exception_common
