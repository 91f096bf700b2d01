# An option ROM (PCI firmware specification 3.2, 5.1) that answers INT 15h, AX=E820h, from a table behind its code, as other BIOSes
# might, with the direction flag set. Its code and data are reached by CS alone.

.code16
.Loption_rom:
    .byte 0x55, 0xaa, 2                 # signature, length in blocks of 512 bytes
    pushw %ds
    pushl %eax
    xorw %ax, %ax
    movw %ax, %ds
    movl 4 * 0x15, %eax
    movl %eax, %cs:(.Lold_call - .Loption_rom)
    movw $(.Lcall - .Loption_rom), 4 * 0x15
    movw %cs, 4 * 0x15 + 2
    popl %eax
    popw %ds
    lret

.Lcall:
    cmpw $0xe820, %ax
    je 1f
    ljmpw *%cs:(.Lold_call - .Loption_rom)
1:  pushw %ds
    pushw %si
    pushw %di
    pushw %cs
    popw %ds
    cld
    leaw (.Ltable - .Loption_rom)(%bx), %si
    movw $10, %cx
    rep movsw
    popw %di
    popw %si
    popw %ds
    addw $20, %bx
    cmpw %cs:(.Ltable_len - .Loption_rom), %bx
    jb 2f
    xorw %bx, %bx
2:  movl $0x534d4150, %eax
    movl $20, %ecx
    sti
    std
    clc
    lretw $2

.Lold_call:
    .long 0
.Ltable_len:
    .word 0
.Ltable:
.Loption_rom_end:
