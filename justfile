# Every recipe sets up what it needs; `just` alone lists them.

target_dir := env("CARGO_TARGET_DIR", justfile_directory() / "target")
guest_target := "x86_64-unknown-none"
appliances := "hello memory-stress"
test_guests := "misbehave kernel-tests"

# List the recipes.
default:
    @just --list --unsorted

# Build, then boot an appliance on the best host there is: `just run [appliance] [vmm-stub options] [-- arguments]`.
[no-exit-message]
[positional-arguments]
run *arguments: build
    #!/usr/bin/env bash
    set -euo pipefail
    appliance=memory-stress
    if [[ $# -gt 0 && $1 != -* ]]; then appliance=$1; shift; fi
    image={{ quote(target_dir) }}/appliances/$appliance
    if [[ ! -f $image ]]; then
        echo "just run: there is no appliance '$appliance'; there are: {{ appliances }}" >&2
        exit 116
    fi
    vmm_stub={{ quote(target_dir) }}/release/vmm-stub
    # The host is what an option in front of `--` says, else what `doctor` finds.
    host=auto; previous=
    for word in "$@"; do
        if [[ $word == -- ]]; then break; fi
        if [[ $previous == --host ]]; then host=$word; fi
        if [[ $word == --host=* ]]; then host=${word#--host=}; fi
        previous=$word
    done
    if [[ $host == qemu ]] || { [[ $host == auto ]] && ! "$vmm_stub" doctor >/dev/null 2>&1; }; then
        {{ quote(just_executable()) }} --quiet _qemu
    fi
    exec "$vmm_stub" run "$image" --host auto --memory 1G "$@"

# Run all tests: on the host, and whole systems on every host of guests there is.
test: build _build-test-guests _qemu
    cargo test --workspace --locked

# Build the VMM and the appliances into target/release/vmm-stub and target/appliances.
build: _rust-target (_guests "appliances" appliances)
    @cargo build --quiet --locked --release --package vmm-stub

# Check formatting and lints, for host and guest.
lint: _rust-target
    @rustup component list --installed | grep -q ^clippy || rustup component add clippy
    @rustup component list --installed | grep -q ^rustfmt || rustup component add rustfmt
    cargo fmt --check
    cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
    cargo clippy --quiet --locked --target {{ guest_target }} --package unikernel \
        {{ prepend("--package ", appliances + " " + test_guests) }} -- -D warnings

# Measure and print figures beside their targets: `just bench boot`.
bench what="boot": build _build-test-guests _qemu
    @cargo build --quiet --locked --release --package memory-stress
    cargo bench --quiet --locked --package system-tests --bench {{ what }}

_build-test-guests: (_guests "guests" test_guests)

# Builds guest crates and packs them into target/FOLDER.
_guests folder crates: _rust-target
    @cargo build --quiet --locked --release --target {{ guest_target }} {{ prepend("--package ", crates) }}
    @for crate in {{ crates }}; do \
        cargo run --quiet --locked --release --package image-tool -- pack \
            {{ quote(target_dir) }}/{{ guest_target }}/release/$crate {{ quote(target_dir) }}/{{ folder }}/$crate >/dev/null || exit; \
    done

# The guest's target, which the toolchain file alone does not fetch everywhere.
_rust-target:
    @rustup target list --installed | grep -qx {{ guest_target }} || rustup target add {{ guest_target }}

# QEMU, for guests where there is no KVM.
_qemu:
    #!/usr/bin/env bash
    set -euo pipefail
    if command -v qemu-system-x86_64 >/dev/null; then exit 0; fi
    install='apt-get update && apt-get install --yes --no-install-recommends qemu-system-x86'
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "installing QEMU: $install" >&2
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends qemu-system-x86 >/dev/null
    else
        echo "QEMU is missing, so its tests can't run; install it with: sudo sh -c '$install'" >&2
    fi
