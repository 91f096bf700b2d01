//! What the processor has to be told before the kernel's page tables are loaded, and how the host wants them.

use super::BootError;
use crate::cpu::features;
use crate::cpu::host::Host;
use crate::memory::live;
use crate::memory::page_table::Paging;
use crate::memory::page_table::attributes::PAT_MSR_VALUE;
use x86::bits64::paging::PTFlags;
use x86::msr::{IA32_EFER, IA32_PAT, rdmsr, wrmsr};

/// IA32_EFER.NXE: page-table entries have a no-execute bit (Intel SDM volume 4).
const NO_EXECUTE_ENABLE: u64 = 1 << 11;

/// Checks the processor, enables no-execute bits and cache types, and says how tables are to be.
///
/// # Errors
/// [`BootError::NoExecuteMissing`], [`BootError::PageAttributeTableMissing`].
pub(super) fn prepare(host: Host) -> Result<live::PagingPolicy, BootError> {
    if !features::has_no_execute() {
        return Err(BootError::NoExecuteMissing);
    }
    if !features::has_page_attribute_table() {
        return Err(BootError::PageAttributeTableMissing);
    }
    // SAFETY: the processor has both MSRs. The first four entries of the PAT, which are all that the present tables use, stay.
    unsafe {
        if host.owns_control_registers() {
            wrmsr(IA32_EFER, rdmsr(IA32_EFER) | NO_EXECUTE_ENABLE);
        }
        wrmsr(IA32_PAT, PAT_MSR_VALUE);
    }
    let paging = Paging {
        user: host.user_bit() == PTFlags::US,
        one_gib_leaves: host.takes_1g_leaves(features::has_1g_leaves()),
        physical_address_bits: features::physical_address_bits(),
        root_in_odd_frame: host.wants_root_in_odd_frame(),
    };
    Ok(live::PagingPolicy {
        paging,
        flush_all_threshold_pages: host.flush_all_threshold_pages(),
        fault_around_bytes: host.fault_around_bytes(),
    })
}
