# Every recipe sets up what it needs; `just` alone lists them.

# A relative one is taken from here, as cargo does when a recipe calls it.
target_dir := if env("CARGO_TARGET_DIR", "target") =~ "^/" { env("CARGO_TARGET_DIR") } else { justfile_directory() / env("CARGO_TARGET_DIR", "target") }
guest_target := "x86_64-unknown-none"
uefi_target := "x86_64-unknown-uefi"
uefi_loader := target_dir / uefi_target / "uefi/uefi-loader.efi"
# `cargo run` in another crate hands its toolchain on; this checkout has its own.
unexport RUSTUP_TOOLCHAIN

appliances := "hello memory-stress"
test_guests := "misbehave kernel-tests"

# List the recipes.
default:
    @just --list --unsorted

# Build, then boot an appliance, a crate of `just new` or an image: `just run [NAME | FOLDER | FILE] [options] [-- arguments]`.
[no-exit-message]
[positional-arguments]
run *arguments: build
    #!/usr/bin/env bash
    set -euo pipefail
    appliance=memory-stress
    if [[ $# -gt 0 && $1 != -* ]]; then appliance=$1; shift; fi
    # The options, then what is behind the first `--`.
    options=(--memory 1G)
    while [[ $# -gt 0 && $1 != -- ]]; do options+=("$1"); shift; done
    cd {{ quote(invocation_directory()) }}
    just=({{ quote(just_executable()) }} --justfile {{ quote(justfile()) }})
    image=$("${just[@]}" _appliance "just run" "$appliance") || exit 116
    exec "${just[@]}" _start "${options[@]}" -- "$image" "${@:2}"

# Prints the path of an appliance's file, for a command that was given it: `_appliance COMMAND NAME|FOLDER|FILE`. A crate in a folder
# is built and packed.
[no-exit-message]
[positional-arguments]
_appliance command appliance:
    #!/usr/bin/env bash
    set -euo pipefail
    cd {{ quote(invocation_directory()) }}
    command=$1; appliance=$2
    refuse() { echo "$command: $1" >&2; exit 116; }
    if [[ $appliance != */* && $appliance != . && $appliance != .. ]]; then
        image={{ quote(target_dir) }}/appliances/$appliance
        if [[ -f $image ]]; then echo "$image"; exit; fi
        [[ -f $appliance ]] || refuse "there is no appliance '$appliance'; there are: {{ appliances }}; a folder is given as ./$appliance"
    fi
    if [[ -f $appliance ]]; then echo "$appliance"; exit; fi
    [[ -f $appliance/Cargo.toml ]] || refuse "there is no file and no crate '$appliance'; make a crate with \`just new PATH\`"
    built=$(cd "$appliance" && cargo build --quiet --release --message-format json-render-diagnostics) || exit 116
    linked=$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' <<< "$built")
    [[ -n $linked && $linked != *$'\n'* ]] || refuse "the crate in '$appliance' has not exactly one binary"
    exec {{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} _pack "$linked"

# Packs an appliance as cargo has linked it into a file beside it, and prints its path.
[no-exit-message]
[positional-arguments]
_pack linked:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --quiet --locked --release --package image-tool
    cd {{ quote(invocation_directory()) }}
    {{ quote(target_dir) }}/release/image-tool pack "$1" "$1.image" >/dev/null || exit 116
    echo "$1.image"

# Write the crate of a new appliance, outside this folder: `just new PATH`.
[no-exit-message]
new path: _rust-target
    @cargo build --quiet --locked --release --package new-appliance
    @cd {{ quote(invocation_directory()) }} && \
        {{ quote(target_dir) }}/release/new-appliance --freehold {{ quote(justfile_directory()) }} -- {{ quote(path) }}

# Packs an appliance as cargo has linked it, and boots it: `_boot [vmm-stub options] -- ELF [arguments]`. It is what
# `cargo run` in a crate of `just new` calls.
[no-exit-message]
[positional-arguments]
_boot *arguments: _vmm-stub
    #!/usr/bin/env bash
    set -euo pipefail
    cd {{ quote(invocation_directory()) }}
    just=({{ quote(just_executable()) }} --justfile {{ quote(justfile()) }})
    options=()
    while [[ $1 != -- ]]; do options+=("$1"); shift; done
    if [[ -z ${2-} ]]; then echo "just _boot: give the appliance as cargo has linked it" >&2; exit 116; fi
    image=$("${just[@]}" _pack "$2") || exit 116
    exec "${just[@]}" _start "${options[@]}" -- "$image" "${@:3}"

# Boots an image on the best host there is: `_start [vmm-stub options] -- IMAGE [arguments]`.
[no-exit-message]
[positional-arguments]
_start *arguments:
    #!/usr/bin/env bash
    set -euo pipefail
    vmm_stub={{ quote(target_dir) }}/release/vmm-stub
    # The host is what an option says, else what `doctor` finds.
    options=(--host auto); host=auto
    while [[ $1 != -- ]]; do
        if [[ ${options[-1]} == --host ]]; then host=$1; fi
        if [[ $1 == --host=* ]]; then host=${1#--host=}; fi
        options+=("$1"); shift
    done
    if [[ $host == qemu ]] || { [[ $host == auto ]] && ! "$vmm_stub" doctor >/dev/null 2>&1; }; then
        {{ quote(just_executable()) }} --quiet --justfile {{ quote(justfile()) }} _qemu
    fi
    cd {{ quote(invocation_directory()) }}
    exec "$vmm_stub" run "$2" "${options[@]}" -- "${@:3}"

# Make a disk image that BIOS and UEFI boot: `just image [NAME | FOLDER | FILE] [--format raw|qcow2|vhd|vmdk|iso|oci] [--args "…"] [--env NAME=value] [--output FILE] [--force]`.
[no-exit-message]
[positional-arguments]
image *arguments: build
    #!/usr/bin/env bash
    set -euo pipefail
    appliance=memory-stress
    if [[ $# -gt 0 && $1 != -* ]]; then appliance=$1; shift; fi
    cd {{ quote(invocation_directory()) }}
    file=$({{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} _appliance "just image" "$appliance") || exit 116
    # The image's name ends with its format, unless --output names it. The value of an option may be the next word.
    format=raw; names_output=false; option=
    for word in "$@"; do
        case $option$word in
            --format=*) format=${word#--format=} ;;
            --output=*) names_output=true ;;
        esac
        case $option$word in --format | --output | --args | --env | --log) option=$word= ;; *) option= ;; esac
    done
    output=()
    name=$(basename "$file" .image)
    $names_output || output=(--output {{ quote(target_dir) }}/images/"$name.$format")
    exec {{ quote(target_dir) }}/release/disk-image make "$file" --uefi-loader {{ quote(uefi_loader) }} "${output[@]}" "$@"

# Run all tests, on the host and whole systems on every host of guests; or a part, which `just test help` lists.
test what="all":
    @case {{ quote(what) }} in all | npt | ept | loom | miri | miri-short) ;; \
        help) printf '%s\n' "just test             everything but the parts below" \
            "just test npt         whole systems on Linux's KVM with SVM and nested paging, on an emulated processor" \
            "just test ept         whole systems on Linux's KVM with VMX and EPT, on an emulated processor" \
            "just test loom        the memory core's atomics, in every order" \
            "just test miri        the memory core, each access checked; miri-short: some of it"; exit ;; \
        *) echo "just test: there is no such part; see \`just test help\`" >&2; exit 2 ;; \
    esac
    @[ {{ quote(what) }} = help ] || {{ quote(just_executable()) }} _test-{{ quote(what) }}

_test-all: build _build-test-guests _qemu _ovmf
    cargo test --workspace --locked

_test-npt: _qemu (_test-nested "npt")

_test-ept: (_test-nested "ept")

# Linux's own KVM on a processor that an emulator makes. All that runs inside is linked statically.
_test-nested lane: build _build-test-guests
    #!/usr/bin/env bash
    set -euo pipefail
    target=x86_64-unknown-linux-musl
    rustup target list --installed | grep -qx $target || rustup target add $target
    cargo build --quiet --locked --release --package nested-kvm
    cargo build --quiet --locked --release --target $target --package vmm-stub
    system_tests=$(cargo test --quiet --locked --no-run --release --target $target --package system-tests --test system \
        --message-format json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
    exec {{ quote(target_dir) }}/release/nested-kvm {{ lane }} --target-dir {{ quote(target_dir) }} \
        --vmm-stub {{ quote(target_dir) }}/$target/release/vmm-stub --system-tests "$system_tests"

# Miri checks each access; leaks are errors. All of it takes half an hour; the short part has some of each.
_test-miri: (_miri "memory::")

_test-miri-short: (_miri "memory::frame::owned_tests memory::page_table::tests::pages memory::page_table::tests::untyped_model memory::heap::tests::each_kind memory::heap::tests::middle_blocks memory::heap::demand::tests::what_is_handed_out")

# With tree borrows: the other model visits every cell of the simulated memory at each access to a table.
_miri tests $MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-tree-borrows-no-precise-interior-mut":
    @rustup toolchain list | grep -q ^nightly || rustup toolchain install --profile minimal nightly
    @for component in miri rust-src; do \
        rustup component list --toolchain nightly --installed | grep -q "^$component" \
            || rustup component add --toolchain nightly $component || exit; \
    done
    cargo +nightly miri test --locked --package unikernel --lib -- {{ tests }}
    cargo +nightly miri test --locked --package memory-model

# loom takes the place of atomics and threads, and tries every order of their accesses.
_test-loom:
    RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR={{ quote(target_dir / "loom") }} \
        cargo test --locked --release --package unikernel --lib loom_

# Build the VMM, the appliances, the disk image tool, the ROM and the UEFI loader into folders of target.
build: (_guests "appliances" appliances) _vmm-stub firmware
    @cargo build --quiet --locked --release --package disk-image

# Build what runs before the kernel: the ROM, which a VMM starts at the reset vector, into target/firmware, and the UEFI loader.
firmware: _rust-target (_rust-target uefi_target)
    @cargo build --quiet --locked --profile guest --target {{ guest_target }} --package freehold-rom
    @install -D -m 644 {{ quote(target_dir) }}/{{ guest_target }}/guest/freehold-rom \
        {{ quote(target_dir) }}/firmware/freehold.rom
    @cargo build --quiet --locked --profile uefi --target {{ uefi_target }} --package uefi-loader

_vmm-stub:
    @cargo build --quiet --locked --release --package vmm-stub

# The ROM is looked at by itself: with the guests, it would get the features that they ask for, and an allocator with them.

# Check formatting and lints, for host, guest and UEFI.
lint: _rust-target (_rust-target uefi_target)
    @rustup component list --installed | grep -q ^clippy || rustup component add clippy
    @rustup component list --installed | grep -q ^rustfmt || rustup component add rustfmt
    cargo fmt --check
    cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
    cargo clippy --quiet --locked --target {{ guest_target }} --package unikernel \
        {{ prepend("--package ", appliances + " " + test_guests) }} -- -D warnings
    cargo clippy --quiet --locked --target {{ guest_target }} --package freehold-rom -- -D warnings
    cargo clippy --quiet --locked --target {{ uefi_target }} --package uefi-loader -- -D warnings

# Measure and print figures beside their targets: `just bench boot`.
bench what="boot": build _build-test-guests _qemu
    @cargo build --quiet --locked --release --package memory-stress
    cargo bench --quiet --locked --package system-tests --bench {{ what }}

# Try random operations, guided by coverage, against plain models: `just fuzz memory|heap [seconds=60]`.
[no-exit-message]
fuzz what seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    what={{ quote(what) }}
    case $what in
        # 1 byte for the machine, 32 for each of 40 operations.
        memory) len_max=1281 ;;
        # 6 bytes for the heap or the machine, 8 for each of 64 operations.
        heap) len_max=518 ;;
        *) echo "just fuzz: there is nothing called '$what'; there are: memory, heap" >&2; exit 2 ;;
    esac
    compiler=${CXX:-c++}
    if ! command -v "$compiler" >/dev/null; then
        echo "just fuzz: libFuzzer is C++, and there is no '$compiler': install g++ or clang (apt-get install g++)" >&2
        exit 2
    fi
    folder={{ quote(target_dir / "fuzz") }}
    # Coverage for libFuzzer in all code of the target; build scripts have another target, and none. Checks stay on.
    export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cdebug-assertions=on -Coverflow-checks=on"
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
    cargo build --quiet --locked --release --target x86_64-unknown-linux-gnu --target-dir "$folder/build" \
        --package memory-model --features libfuzzer --bin "fuzz-$what"
    fuzzer=$folder/build/x86_64-unknown-linux-gnu/release/fuzz-$what
    mkdir -p "$folder/$what" "$folder/$what-failures"
    if "$fuzzer" -max_total_time={{ quote(seconds) }} -max_len="$len_max" -len_control=0 -rss_limit_mb=2048 -timeout=20 \
        -print_final_stats=1 -verbosity=1 -artifact_prefix="$folder/$what-failures/" "$folder/$what" \
        > "$folder/$what.log" 2>&1; then
        grep -E '^stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)' "$folder/$what.log"
        echo "fuzz $what: no disagreement in {{ seconds }} s; corpus: $folder/$what"
    else
        status=$?
        tail -n 60 "$folder/$what.log" >&2
        input=$(sed -n 's/.*Test unit written to //p' "$folder/$what.log" | tail -n 1)
        echo "fuzz $what: FAILED; the input: ${input:-none}; replay it with: $fuzzer ${input:-FILE}" >&2
        exit "$status"
    fi

_build-test-guests: (_guests "guests" test_guests)

# Builds guest crates and packs them into target/FOLDER.
_guests folder crates: _rust-target
    @cargo build --quiet --locked --profile guest --target {{ guest_target }} {{ prepend("--package ", crates) }}
    @for crate in {{ crates }}; do \
        cargo run --quiet --locked --release --package image-tool -- pack \
            {{ quote(target_dir) }}/{{ guest_target }}/guest/$crate {{ quote(target_dir) }}/{{ folder }}/$crate >/dev/null || exit; \
    done

# A target, which the toolchain file alone does not fetch everywhere.
_rust-target target=guest_target:
    @rustup target list --installed | grep -qx {{ target }} || rustup target add {{ target }}

# QEMU, for guests where there is no KVM, and qemu-img, for images of its formats.
_qemu: (_package "QEMU" "qemu-system-x86" "command -v qemu-system-x86_64") (_package "qemu-img" "qemu-utils" "command -v qemu-img")

# UEFI firmware for QEMU.
_ovmf: (_package "OVMF" "ovmf" "compgen -G '/usr/share/OVMF/OVMF_CODE*.fd'")

# What is there if the command `probe` succeeds is installed if it can be.
_package name package probe:
    #!/usr/bin/env bash
    set -euo pipefail
    if {{ probe }} >/dev/null; then exit 0; fi
    install='apt-get update && apt-get install --yes --no-install-recommends {{ package }}'
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "installing {{ name }}: $install" >&2
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends {{ package }} >/dev/null
    else
        echo "{{ name }} is missing, so its tests can't run; install it with: sudo sh -c '$install'" >&2
    fi
