# The switch to native running on KVM_PVM, which emulates what is at ring 0, slowly and in part: guest_interface::kvm_pvm.
#
# pvm_switch: 64-bit mode at ring 0, interrupts off, page tables and GDT of head.s. Leads to start_64 with RBX kept: on KVM_PVM
#             at level 3 and natively, on any other host as it came. KVM_PVM is a KVM by its CPUID leaves whose signature MSR
#             reads right; on another KVM that MSR is missing, and a general protection fault says so.

.section .bss.pvm_switch_idt, "aw", @nobits
    .balign 16
idt:
    .skip 16 * ({general_protection} + 1)
idt_end:

.section .rodata.pvm_switch, "a", @progbits
idt_pointer:
    .word idt_end - idt - 1
    .quad idt
no_idt_pointer:                     # a fault is then a triple fault
    .word 0
    .quad 0

.section .text.pvm_switch, "ax", @progbits
.code64
.globl pvm_switch
.type pvm_switch, @function
pvm_switch:
    lea rsp, [{stack} + {stack_len}]
    mov r8d, ebx                    # cpuid takes EBX
    mov eax, 1
    cpuid
    mov r9d, ecx
    bt r9d, {cpuid_hypervisor}
    jnc 5f

    mov r10d, {hypervisor_base}     # or behind the leaves of another hypervisor, whose interface KVM has then, too
2:  mov eax, r10d
    cpuid
    cmp ebx, {kvm_ebx}
    jne 3f
    cmp ecx, {kvm_ecx}
    jne 3f
    cmp edx, {kvm_edx}
    je 4f
3:  add r10d, {hypervisor_stride}
    cmp r10d, {hypervisor_base} + 2 * {hypervisor_stride}
    jne 2b
    jmp 5f

4:  lea rax, [rip + 5f]             # the gate: whatever the fault has pushed, start_64 has the stack anew
    mov [idt + 16 * {general_protection}], ax
    mov word ptr [idt + 16 * {general_protection} + 2], {ring_zero_code_selector}
    mov word ptr [idt + 16 * {general_protection} + 4], {interrupt_gate}
    shr eax, 16
    mov [idt + 16 * {general_protection} + 6], ax
    lidt [rip + idt_pointer]
    mov ecx, {msr_signature}
    rdmsr
    cmp eax, {signature}
    je 6f
5:  lidt [rip + no_idt_pointer]
    mov ebx, r8d
    jmp start_64

6:  lidt [rip + no_idt_pointer]
    mov eax, {cr0}
    mov cr0, rax
    mov eax, {cr4}
    bt r9d, {cpuid_xsave}
    jnc 7f
    or eax, {cr4_osxsave}
7:  mov cr4, rax
    mov ecx, {msr_efer}
    mov eax, {efer}
    xor edx, edx
    wrmsr
    # The root in an even page keeps the host emulating until level 3 is reached. Run natively from here on, it would go on taking
    # CS and SS for those of ring 0, and have exceptions return there.
    mov ecx, {msr_native}
    mov eax, 1
    wrmsr
    mov eax, {data_selector}
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov rcx, rsp
    push rax
    push rcx
    push {flags}
    push {code_selector}
    lea rax, [rip + 8f]
    push rax
    mov rdx, cr3
    or rdx, {cr3_native}
    iretq
8:  mov cr3, rdx                    # native from the next instruction on
    mov ebx, r8d
    jmp start_64
.size pvm_switch, . - pvm_switch
