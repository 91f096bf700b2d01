//! What `vmm-stub` tells its guest beyond PVH, as a PVH module named [`MODULE_NAME`].
//!
//! A module and not a CPUID leaf, because a guest on KVM_PVM runs `cpuid` natively and sees the host's own leaves.
//!
//! The record is [`LEN`] bytes, little-endian, 8-byte aligned, and lies below 4 GiB:
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 4 | [`VERSION`] |
//! | 12 | 4 | doorbell port |
//! | 16 | 8 | TSC frequency in Hz, 0 if the host does not know it |
//! | 24 | 8 | milestone: TSC at kernel entry, written by the guest |
//! | 32 | 8 | milestone: TSC when the application starts, written by the guest |
//! | 40 | 8 | milestone: TSC when the application has ended, written by the guest |
//! | 48 | 4 | result port, 0 if nobody asked for a result |
//! | 52 | 4 | 0 |

/// The module's name, its "command line" in PVH's terms.
pub const MODULE_NAME: &str = "freehold.host";

/// First eight bytes of the record.
pub const MAGIC: u64 = u64::from_le_bytes(*b"FREEHOLD");

/// Version of the record; a guest ignores a record of another version.
pub const VERSION: u32 = 2;

/// Length of the record in bytes.
pub const LEN: usize = 56;

/// Moments of a guest's life that it stamps with its TSC, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The first Rust code of the kernel runs.
    KernelEntry,
    /// The kernel is up and calls the application.
    ApplicationStart,
    /// The application has returned its status.
    ApplicationEnd,
}

impl Milestone {
    /// Offset of the 8-byte stamp in the record.
    #[must_use]
    pub const fn offset(self) -> usize {
        match self {
            Self::KernelEntry => 24,
            Self::ApplicationStart => 32,
            Self::ApplicationEnd => 40,
        }
    }
}

/// The fields that the VMM gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostInformation {
    /// Port of the console doorbell.
    pub doorbell_port: u16,
    /// Frequency of the guest's TSC in Hz, if known.
    pub tsc_hz: Option<u64>,
    /// Port of the result doorbell, if somebody asked for a result.
    pub result_port: Option<u16>,
}

impl HostInformation {
    /// The record as the VMM writes it: all milestones zero.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[0..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.doorbell_port).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.tsc_hz.unwrap_or(0).to_le_bytes());
        bytes[48..52].copy_from_slice(&u32::from(self.result_port.unwrap_or(0)).to_le_bytes());
        bytes
    }

    /// Reads a record; `None` when magic or version is another's, or a port is none.
    #[must_use]
    pub fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        if word(bytes, 0) != MAGIC || word(bytes, 8) as u32 != VERSION {
            return None;
        }
        let doorbell_port = u16::try_from(word(bytes, 8) >> 32).ok()?;
        let tsc_hz = Some(word(bytes, 16)).filter(|&hz| hz != 0);
        let result_port = Some(u16::try_from(word(bytes, 48) as u32).ok()?).filter(|&port| port != 0);
        Some(Self { doorbell_port, tsc_hz, result_port })
    }
}

/// Reads one milestone from a record that the guest may have written anything into: `None` if it was never stamped.
#[must_use]
pub fn milestone(bytes: &[u8; LEN], milestone: Milestone) -> Option<u64> {
    Some(word(bytes, milestone.offset())).filter(|&tsc| tsc != 0)
}

/// The little-endian word at `offset`.
fn word(bytes: &[u8; LEN], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFORMATION: HostInformation =
        HostInformation { doorbell_port: 0xfee, tsc_hz: Some(2_600_000_000), result_port: Some(0xfea) };

    #[test]
    fn what_the_vmm_writes_the_guest_reads() {
        let bytes = INFORMATION.encode();
        assert_eq!(HostInformation::decode(&bytes), Some(INFORMATION));
        let unknown = HostInformation { tsc_hz: None, result_port: None, ..INFORMATION };
        assert_eq!(HostInformation::decode(&unknown.encode()), Some(unknown));
    }

    #[test]
    fn another_version_or_magic_is_not_read() {
        for offset in [0, 7, 8, 11] {
            let mut bytes = INFORMATION.encode();
            bytes[offset] ^= 0x40;
            assert_eq!(HostInformation::decode(&bytes), None, "byte {offset} changed");
        }
    }

    #[test]
    fn a_port_beyond_16_bits_is_not_read() {
        for offset in [14, 50] {
            let mut bytes = INFORMATION.encode();
            bytes[offset] = 1;
            assert_eq!(HostInformation::decode(&bytes), None, "byte {offset} changed");
        }
    }

    #[test]
    fn milestones_do_not_overlap_the_host_fields() {
        let mut bytes = INFORMATION.encode();
        assert_eq!(milestone(&bytes, Milestone::KernelEntry), None);
        let all = [Milestone::KernelEntry, Milestone::ApplicationStart, Milestone::ApplicationEnd];
        for (stamp, which) in (1u64..).zip(all) {
            bytes[which.offset()..which.offset() + 8].copy_from_slice(&stamp.to_le_bytes());
        }
        assert_eq!(all.map(|which| milestone(&bytes, which)), [Some(1), Some(2), Some(3)]);
        assert_eq!(HostInformation::decode(&bytes), Some(INFORMATION));
    }
}
