# The two ends of the ROM: from the reset vector into Rust, and from Rust into the kernel.
#
# A processor starts in real mode at the last 16 bytes below 4 GiB, with the base of CS at the last 64 KiB. Page tables and
# descriptors lie here, ready for use: accessed and dirty bits are set, so that the processor has nothing to write.
#
# The head is the end of the ROM, linked at one virtual address and used at several: every address is an offset in it. The
# syntax is AT&T's.

.set HEAD, 0x100000000 - {head_len}     # physical
.set PML4, HEAD
.set PDPT, HEAD + 0x1000
.set LOW, HEAD + 0x2000
.set HIGH, HEAD + 0x3000

.set TABLE, 0x27                        # present, writable, user, accessed
.set RAM_LEAF, 0xe7                     # the same, dirty, 2 MiB
.set ROM_LEAF, 0xe5                     # not writable

.set CODE64, 8                          # selectors
.set DATA, 16
.set CODE32, 24

.set CR0, 0x11                          # protected mode, and the bit that is always set
.set CR0_PAGING, 0x80000000
.set CR4_PAE, 0x20
.set EFER, 0xc0000080
.set EFER_LONG_MODE, 0x100

# The user bit means nothing to code at privilege level 0. KVM_PVM wants it, and the PML4 in an odd page.
.Lhead:
    .quad PDPT + TABLE                  # PML4
    .skip 510 * 8
    .quad PDPT + TABLE

    .quad LOW + TABLE                   # PDPT: the first GiB
    .quad 0, 0
    .quad HIGH + TABLE                  # the last below 4 GiB, and where the ROM is linked
    .skip 506 * 8
    .quad HIGH + TABLE
    .quad 0

    .set .Laddress, 0
    .rept 512
    .quad .Laddress + RAM_LEAF
    .set .Laddress, .Laddress + 0x200000
    .endr

    .skip 511 * 8                       # of the last GiB, only its last 2 MiB
    .quad 0xffe00000 + ROM_LEAF

.Lgdt:
    .quad 0
    .quad 0x00af9b000000ffff            # code, 64 bits
    .quad 0x00cf93000000ffff            # data
    .quad 0x00cf9b000000ffff            # code, 32 bits
.Lgdt_pointer:
    .word .Lgdt_pointer - .Lgdt - 1
    .long .Lgdt - .Lhead + HEAD

# From real mode into long mode in one step.
.code16
.Lreal:
    lgdtl %cs:(.Lgdt_pointer - .Lhead + HEAD - 0xffff0000)
    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $PML4, %eax
    movl %eax, %cr3
    movl $EFER, %ecx
    movl $EFER_LONG_MODE, %eax
    xorl %edx, %edx
    wrmsr
    movl $(CR0 + CR0_PAGING), %eax
    movl %eax, %cr0
    ljmpl $CODE64, $(.Llong - .Lhead + HEAD)

.code64
.Llong:
    movl $DATA, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    movl ${stack}, %esp
    movq $freehold_rom_main, %rax
    call *%rax
    ud2

# freehold_rom_enter(entry: u32, start_info: u32) -> !
# The state that PVH demands: 32-bit flat segments, CR0 with nothing but PE and ET, CR4 0, interrupts off.
.globl freehold_rom_enter
freehold_rom_enter:
    movl %esi, %ebx
    pushq $CODE32
    movl $(.Lprotected - .Lhead + HEAD), %eax
    pushq %rax
    lretq
.code32
.Lprotected:
    movl $CR0, %eax
    movl %eax, %cr0
    movl $EFER, %ecx
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    movl %eax, %cr4
    jmp *%edi

    .skip {head_len} - 16 - (. - .Lhead)
.code16
.globl freehold_rom_reset
freehold_rom_reset:
    jmp .Lreal
    .skip 16 - (. - freehold_rom_reset)
.code64
