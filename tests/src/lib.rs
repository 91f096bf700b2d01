//! What whole-system tests and benchmarks need to boot guests on real hosts and to judge how they ended.
//!
//! | module | what it is about |
//! |---|---|
//! | [`artifact`] | the binaries under test, as `just build` leaves them |
//! | [`lane`] | the hosts that guests run on, and which of them this machine has |
//! | [`paging`] | how this machine's KVM translates addresses |
//! | [`process`] | child processes that end in time, whatever they do |
//! | [`boot`] | one boot of a guest by `vmm-stub` |
//! | [`qemu`] | one boot of a guest by QEMU itself |
//! | [`disk`] | disk images, and booting them by a BIOS |
//! | [`option_rom`] | a BIOS with another memory map |
//! | [`verdict`] | what a boot did against what it should have done |
//! | [`elf`] | program headers, to read and to spoil |
//! | [`start_stub`] | code that runs before an image's own, to spoil what the VMM gave |
//! | [`reset_rom`] | the least firmware there can be, to try what a machine gives it |
//! | [`hugetlb_pool`] | the host's pool of 2 MiB pages, for a while as large as a test needs it |
//! | [`contest`], [`random`] | benchmarks of several contestants by turns, and what they draw from |
//! | [`memory_stress`] | runs of memory-stress in a guest and as a process, to compare |
//! | [`empty_guest`] | the least guest there can be, for scale |

pub mod artifact;
pub mod boot;
pub mod contest;
pub mod disk;
pub mod elf;
pub mod empty_guest;
pub mod hugetlb_pool;
pub mod lane;
pub mod memory_stress;
pub mod option_rom;
pub mod ovmf;
pub mod paging;
pub mod process;
pub mod qemu;
pub mod random;
pub mod reset_rom;
pub mod rom;
pub mod start_stub;
pub mod verdict;
