# The BIOS loader. The boot sector finds and checks the second stage, which loads the kernel and enters it.
#
# It is assembled into a program of the host, as data: every address is a difference to `.Lbase`, the place that memory
# address 0 would have, so that nothing is left to relocate. Labels start with .L, so that none of them is a symbol: `read`
# would replace libc's in all of that program. The syntax is AT&T's, in which the assembler takes such differences as operands.
#
# Memory while it runs, beside the start info, memory map and command line that the kernel is given (guest_interface::layout):
#
#   0x1000  variables               0x7c00  boot sector       0x8000  second stage
#   0x6000  stack, downwards        0x7e00  header            BOUNCE  what the BIOS reads, up to 32 KiB at a time
#
# The first page is left alone: some BIOSes keep it. DS, ES and SS are 0 but between `flat` and `real`. A BIOS may return with the
# direction flag set.

.set .Lbase, .Lboot - 0x7c00

.set DRIVE, 0x1000                      # byte: the BIOS's number of the disk
.set MAP_END, 0x1002                    # word: where the memory map ends
.set A20_PROBE, 0x1004                  # word
.set ENTRY_SEEN, 0x1006                 # byte: whether a segment holds the entry
.set STACK, 0x6000
.set HEADER, 0x7e00
.set STAGE, 0x8000
.set STAGE_BLOCKS, (.Lloader_end - .Lstage) / SECTOR

.set SECTOR, 512                        # bytes of a block
.set CHUNK, 64 * SECTOR                 # what one call of the BIOS reads; many take no more than 127 sectors
.set FLAT_CODE, 8                       # selectors
.set FLAT_DATA, 16
.set SERIAL_DIVISOR, {serial} + 0
.set SERIAL_LINE_CONTROL, {serial} + 3
.set SERIAL_LINE_STATUS, {serial} + 5

.code16
.Lboot:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $STACK, %sp
    ljmp $0, $(.Lfind - .Lbase)         # some BIOSes enter at 0x07c0:0

# Reads CX blocks from block EAX on to DX:0, or fails. Of a CD it reads whole sectors, of which the first begins with the block.
.Lread:
    pushal
    movw %cx, %bx
    movb (.Lsector_shift - .Lbase), %cl
    shrl %cl, %eax
    decw %bx
    shrw %cl, %bx
    incw %bx
    pushl $0                            # the packet of AH=42h, from its end
    pushl %eax
    pushw %dx
    pushw $0
    pushw %bx
    pushw $16
    movw %sp, %si
    movb $0x42, %ah
    movb (DRIVE), %dl
    int $0x13
    cld
    movw $(.Lread_error - .Lbase), %si
    jc .Lfail
    addw $16, %sp
    popal
    ret

# The CRC-32 (IEEE 802.3) of ECX bytes at ESI, in EAX. Changes ECX, EDX, ESI.
.Lcrc32:
    orl $-1, %eax
1:  jecxz 4f
    xorb (%esi), %al
    incl %esi
    movb $8, %dl
2:  shrl $1, %eax
    jnc 3f
    xorl $0xedb88320, %eax
3:  decb %dl
    jnz 2b
    decl %ecx
    jmp 1b
4:  notl %eax
    ret

# Prints the string at SI, which ends with 0, byte by byte with what BP points to.
.Lprint:
    lodsb
    testb %al, %al
    jz 1f
    call *%bp
    jmp .Lprint
1:  ret

.Lscreen:
    pushaw                              # a BIOS that scrolls may change BP
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    popaw
    cld
    ret

.Lserial:
    movb %al, %bl
    movw $SERIAL_LINE_STATUS, %dx
    xorw %cx, %cx
1:  inb %dx, %al
    testb $0x20, %al                    # can it take a byte? A port that never can is not waited for for ever.
    loopz 1b
    movb %bl, %al
    movb $(SERIAL_DIVISOR & 0xff), %dl
    outb %al, %dx
    ret

.Lfind:
    sti
    movb %dl, (DRIVE)

    movb $0x41, %ah                     # are there the extensions of INT 13h?
    movw $0x55aa, %bx
    int $0x13
    movw $(.Lno_extensions - .Lbase), %si
    jc .Lfail
    cmpw $0xaa55, %bx
    jne .Lfail
    testb $1, %cl
    jz .Lfail

    pushl ${header_block}               # popped, it is a byte shorter than moved
    popl %eax
    xorl %ecx, %ecx
    movb $(1 + STAGE_BLOCKS), %cl       # the header and the stage behind it
    movw $(HEADER >> 4), %dx
    call .Lread
    movw $(.Lno_header - .Lbase), %si
    cmpl ${magic_start}, (HEADER)
    jne .Lfail
    movl $HEADER, %esi
    movw ${header_crc}, %cx             # its offset is the length of what it is of
    call .Lcrc32
    cmpl (HEADER + {header_crc}), %eax
    movw $(.Lbad_header - .Lbase), %si
    jne .Lfail
    cmpl ${version}, (HEADER + {header_version})
    movw $(.Lother_version - .Lbase), %si
    jne .Lfail

    movw $(STAGE_BLOCKS * SECTOR), %cx  # what is above CX is 0 since the read
    movl $STAGE, %esi
    call .Lcrc32
    cmpl (HEADER + {header_stage_crc}), %eax
    movw $(.Lbad_stage - .Lbase), %si
    je .Lstage

# Says the message at SI on the screen, then at COM1, and ends the machine: by the exit port, or halted. A BIOS whose screen is a
# serial line, too, has said all of the line before it comes again.
.Lfail:
    cld
    pushw %si
    movw $SERIAL_LINE_CONTROL, %dx      # 115200 baud, 8N1
    movb $0x80, %al
    outb %al, %dx
    movb $(SERIAL_DIVISOR & 0xff), %dl
    movw $1, %ax
    outw %ax, %dx
    movb $(SERIAL_LINE_CONTROL & 0xff), %dl
    movb $3, %al
    outb %al, %dx
    movw $(.Lscreen - .Lbase), %bp
1:  movw $(.Lprefix - .Lbase), %si
    call .Lprint
    popw %si
    pushw %si
    call .Lprint
    movw $(.Lline_end - .Lbase), %si
    call .Lprint
    cmpw $(.Lserial - .Lbase), %bp
    movw $(.Lserial - .Lbase), %bp
    jne 1b
    movl ${boot_failure}, %eax
    outl %eax, ${exit}
    cli
2:  hlt
    jmp 2b

.Lprefix:             .asciz "Freehold loader: "
.Lline_end:           .asciz "\r\n"
.Lno_extensions:      .asciz "no LBA disk calls"
.Lread_error:         .asciz "disk read failed"
.Lno_header:          .asciz "no image header"
.Lbad_header:         .asciz "header damaged"
.Lother_version:      .asciz "unknown version"
.Lbad_stage:          .asciz "loader damaged"
.Lboot_end:

# Fails to assemble if the code is longer than that.
    .skip {boot_code_len} - 1 - (.Lboot_end - .Lboot)
.Lsector_shift:       .byte 0           # the BIOS's sectors are 1 << this many blocks: another number in the boot sector of a CD
    .skip STAGE - 0x7c00 - {boot_code_len}

.Lstage:
    call .Lis_a20_on
    jne 1f
    movw $0x2401, %ax                   # the BIOS's way to let addresses reach beyond 1 MiB, then the chipset's
    int $0x15
    call .Lis_a20_on
    jne 1f
    inb $0x92, %al
    orb $2, %al
    andb $0xfe, %al
    outb %al, $0x92
    call .Lis_a20_on
    movw $(.La20_off - .Lbase), %si
    je .Lfail
1:

# INT 15h, AX=E820h has entries as PVH wants them, but for a last reserved field.
    movw ${memory_map}, %di
    xorl %ebx, %ebx
2:  movw $(.Ltoo_many_ranges - .Lbase), %si
    cmpw ${memory_map} + 24 * {map_entries_max}, %di
    jae .Lfail
    movl $0xe820, %eax
    movl $0x534d4150, %edx
    movl $20, %ecx
    movl $0, 20(%di)
    int $0x15
    cld
    jc 3f                               # what lies behind the last entry, or no such call
    cmpl $0x534d4150, %eax
    jne 3f
    movl 8(%di), %eax                   # a range of no length is none
    orl 12(%di), %eax
    jz 4f
    addw $24, %di
4:  testl %ebx, %ebx
    jnz 2b
3:  movw %di, (MAP_END)
    movw $(.Lno_map - .Lbase), %si
    cmpw ${memory_map}, %di
    je .Lfail

    movl $DRIVE, %eax
    movl ${command_line} + {command_line_len_max}, %edx
    call .Lcheck_ram

# The header is as it was written. What is read by it has to fit all the same, and the kernel to begin in what is loaded.
# Every segment has a place in RAM above 1 MiB, before the first is loaded.
    movw $(.Lbad_header - .Lbase), %si
    movl (HEADER + {header_command_line_len}), %ecx
    decl %ecx                           # of 0, it makes the largest number
    cmpl ${command_line_len_max}, %ecx
    jae .Lfail
    movl (HEADER + {header_segment_count}), %ecx
    decl %ecx
    cmpl ${segments_max}, %ecx
    jae .Lfail
    incw %cx
    movb $0, (ENTRY_SEEN)
    movw $(HEADER + {header_segments}), %bp
4:  movl 4(%bp), %eax
    movl 8(%bp), %ebx
    movl 12(%bp), %edx
    movw $(.Lbad_header - .Lbase), %si
    cmpl %edx, %ebx
    ja .Lfail
    movl (HEADER + {header_entry}), %edi
    subl %eax, %edi
    cmpl %ebx, %edi
    jae 5f
    movb $1, (ENTRY_SEEN)
5:  movw $(.Lno_ram - .Lbase), %si
    addl %eax, %edx
    jc .Lfail
    cmpl ${high_ram_start}, %eax
    jb .Lfail
    call .Lcheck_ram
    addw ${segment_len}, %bp
    loop 4b
    movw $(.Lbad_header - .Lbase), %si
    cmpb $0, (ENTRY_SEEN)
    je .Lfail

    movl (HEADER + {header_command_line_block}), %eax
    movl (HEADER + {header_command_line_len}), %ecx
    addw $(SECTOR - 1), %cx
    shrw $9, %cx
    movw $({command_line} >> 4), %dx
    call .Lread

    movw $(HEADER + {header_segments}), %bp
    movw (HEADER + {header_segment_count}), %cx
5:  pushw %cx
    call .Lload
    popw %cx
    addw ${segment_len}, %bp
    loop 5b

# Only what lies in memory once all is loaded counts.
    movl ${command_line}, %esi
    movl (HEADER + {header_command_line_len}), %ecx
    call .Lflat
    call .Lcrc32
    call .Lreal
    cmpl (HEADER + {header_command_line_crc}), %eax
    movw $(.Lbad_command_line - .Lbase), %si
    jne .Lfail
    movw $(HEADER + {header_segments}), %bp
    movw (HEADER + {header_segment_count}), %bx
6:  movl 4(%bp), %esi
    movl 8(%bp), %ecx
    call .Lflat
    call .Lcrc32
    call .Lreal
    cmpl 16(%bp), %eax
    movw $(.Lbad_kernel - .Lbase), %si
    jne .Lfail
    addw ${segment_len}, %bp
    decw %bx
    jnz 6b

# hvm_start_info (Xen's arch-x86/hvm/start_info.h), version 1. No RSDP: the kernel looks for it where a BIOS has it.
    movw ${start_info}, %di
    movw $(56 / 2), %cx
    xorw %ax, %ax
    rep stosw
    movl $0x336ec578, ({start_info})
    movb $1, ({start_info} + 4)
    movl ${command_line}, ({start_info} + 24)
    movl ${memory_map}, ({start_info} + 40)
    movw (MAP_END), %ax
    subw ${memory_map}, %ax
    movb $24, %cl
    divb %cl
    movb %al, ({start_info} + 48)

# The state that PVH demands: 32-bit flat segments, CR0 with nothing but PE and ET, CR4 0, interrupts off.
    cli
    lgdtl (.Lgdt_pointer - .Lbase)
    xorl %eax, %eax
    movl %eax, %cr4
    movb $0x11, %al
    movl %eax, %cr0
    ljmpl $FLAT_CODE, $(7f - .Lbase)
.code32
7:  movw $FLAT_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl ${start_info}, %ebx
    jmpl *(HEADER + {header_entry})
.code16

# ZF is clear if addresses reach beyond 1 MiB, and do not wrap there.
.Lis_a20_on:
    pushw $0xffff
    popw %es
    movw $0, (A20_PROBE)
    movw $0xffff, %es:(A20_PROBE + 16)
    cmpw $0xffff, (A20_PROBE)
    pushw $0
    popw %es
    ret

# Fails unless EAX to EDX lies in one range of RAM that nothing else overlaps. Changes EBX, ESI, EDI.
.Lcheck_ram:
    pushw %bp
    pushw %cx
    xorw %cx, %cx                       # ranges of RAM around it
    movw ${memory_map}, %bx
1:  cmpl $0, 4(%bx)                     # it begins beyond 4 GiB
    jne 4f
    movl (%bx), %esi
    movl %esi, %edi
    addl 8(%bx), %edi
    movl 12(%bx), %ebp
    adcl $0, %ebp
    jz 2f
    movl $-1, %edi                      # it ends there
2:  cmpl $1, 16(%bx)
    jne 3f
    cmpl %eax, %esi
    ja 4f
    cmpl %edx, %edi
    jb 4f
    incw %cx
    jmp 4f
3:  cmpl %edx, %esi
    jae 4f
    cmpl %eax, %edi
    jbe 4f
    xorw %cx, %cx
    jmp 5f
4:  addw $24, %bx
    cmpw (MAP_END), %bx
    jb 1b
5:  testw %cx, %cx
    movw $(.Lno_ram - .Lbase), %si
    jz .Lfail
    popw %cx
    popw %bp
    ret

# Loads the segment that BP points to.
.Lload:
    movl (%bp), %eax                    # the next block
    movl 4(%bp), %edi                   # where it goes
    movl 8(%bp), %ebx                   # bytes left
1:  testl %ebx, %ebx
    jz 3f
    movl $CHUNK, %ecx
    cmpl %ecx, %ebx
    jae 2f
    movl %ebx, %ecx
2:  pushl %ecx
    addl $(SECTOR - 1), %ecx
    shrl $9, %ecx
    movw $({bounce} >> 4), %dx
    call .Lread
    addl %ecx, %eax
    popl %ecx
    subl %ecx, %ebx
    movl ${bounce}, %esi
    call .Lflat
    rep movsb (%esi), %es:(%edi)
    call .Lreal
    jmp 1b
3:  movl 12(%bp), %ecx
    subl 8(%bp), %ecx
    xorl %eax, %eax
    call .Lflat
    rep stosb %al, %es:(%edi)
    jmp .Lreal

# Makes DS and ES reach all of 4 GiB, from protected mode, and turns interrupts off. SS and CS stay as they are.
.Lflat:
    cli
    pushl %eax
    lgdtl (.Lgdt_pointer - .Lbase)
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    jmp 1f
1:  movw $FLAT_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    popl %eax
    ret

# Goes back from `flat` to what the BIOS can be called from.
.Lreal:
    pushl %eax
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    jmp 1f
1:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    popl %eax
    sti
    ret

.La20_off:            .asciz "the A20 line can't be switched on"
.Lno_map:             .asciz "the BIOS has no memory map (INT 15h, E820h)"
.Ltoo_many_ranges:    .asciz "the BIOS's memory map has too many ranges"
.Lno_ram:             .asciz "no RAM where the image belongs; give the machine more memory"
.Lbad_command_line:   .asciz "command line damaged; write the image again"
.Lbad_kernel:         .asciz "kernel damaged; write the image again"

    .balign 8
.Lgdt:
    .quad 0
    .quad 0x00cf9b000000ffff            # code, 32 bits, privilege level 0
    .quad 0x00cf93000000ffff            # data
.Lgdt_pointer:
    .word .Lgdt_pointer - .Lgdt - 1
    .long .Lgdt - .Lbase

    .balign SECTOR
.Lloader_end:
