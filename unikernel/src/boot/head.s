# The two starts of an image, up to the first Rust function.
#
# start_32: the PVH entry (Xen "x86/HVM direct boot ABI"): 32-bit protected mode, flat segments, paging off,
#           EBX = physical address of hvm_start_info. Switches to 64-bit mode, the first GiB mapped one to one, and goes on in
#           pvm_switch.s.
# start_64: where a VMM starts the image in 64-bit mode at privilege level 3 (KVM_PVM), with page tables of its own that
#           map the first GiB likewise; RBX as above. pvm_switch.s leads here, too.

.globl interface_image_base
.set interface_image_base, {image_base}

.section .note.Xen, "a", @note
    .balign 4
    .long 4                         # length of the name
    .long 4                         # length of the descriptor
    .long 18                        # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start_32

.section .bss.boot_tables, "aw", @nobits
    .balign 8192
pml4: .skip 4096 * 2                # in an even page, and the same in the odd one behind it, where KVM_PVM wants it
pdpt: .skip 4096
pd:   .skip 4096

.section .rodata.boot_gdt, "a", @progbits
    .balign 8
gdt:  .quad 0
      .quad 0x00af9b000000ffff      # 64-bit code, privilege level 0
      .quad 0x00cf93000000ffff      # data, privilege level 0
      .quad 0, 0
      .quad 0x00cff3000000ffff      # data, level 3, at the index that KVM_PVM demands
      .quad 0x00affb000000ffff      # 64-bit code, level 3, likewise
gdt_pointer:
      .word gdt_pointer - gdt - 1
      .long gdt

.section .text.start, "ax", @progbits
.code32
.globl start_32
.type start_32, @function
start_32:
    mov dword ptr [pml4], offset pdpt + {table}
    mov dword ptr [pml4 + {cr3_native}], offset pdpt + {table}
    mov dword ptr [pdpt], offset pd + {table}
    mov eax, {leaf}
    mov edi, offset pd
2:  mov [edi], eax
    add edi, 8
    add eax, 0x200000
    cmp eax, 0x40000000
    jb 2b

    mov eax, {cr4}
    mov cr4, eax
    mov eax, offset pml4
    mov cr3, eax
    mov ecx, {efer}
    rdmsr
    or eax, {efer_lme}
    wrmsr
    mov eax, {cr0}
    mov cr0, eax
    lgdt [gdt_pointer]
    .byte 0xea                      # jmp far, which this assembler has no mnemonic for
    .long 3f
    .word {code_selector}
.code64
3:  mov eax, {data_selector}
    mov ss, eax
    mov ds, eax
    mov es, eax
    jmp pvm_switch
.size start_32, . - start_32

.globl start_64
.type start_64, @function
start_64:
    cld                             # PVH leaves the flag open, the ABI wants it clear
    cli                             # what the count of reasons to mask starts with
    lea rsp, [{stack} + {stack_len}]
    xor ebp, ebp                    # ends the chain of frames that a backtrace follows
    mov edi, ebx
    call {start}
    ud2
.size start_64, . - start_64
