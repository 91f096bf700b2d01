//! The line that `--timing` prints: `timing: ` and one JSON object, all times in microseconds.
//!
//! | field | meaning |
//! |---|---|
//! | `host` | `kvm`, `kvm-pvm` or `qemu` |
//! | `backing` | what `--backing` asked for |
//! | `setup_us` | from the first instruction of `main` to the first entry of the guest, or to the start of QEMU. What the kernel and the dynamic linker take to start this process comes before it and is not included |
//! | `guest_us` | from there until the guest, or QEMU, has ended |
//! | `boot_us` | of that, from the kernel's first Rust code to the start of the application, by the guest's own clock |
//! | `application_us` | of that, from the start of the application to its end, by the guest's own clock |
//! | `teardown_us` | from the guest's end until this line is made. What the kernel takes to end this process, above all to free the guest's memory, comes after it and is not included |
//! | `exits` | number of VM exits, in total and by kind |
//! | `dropped_records` | console doorbells that named no line |
//! | `vmm_peak_rss_kib` | peak of the resident memory of this process that is not the guest's |
//! | `guest_resident_kib` | guest memory that the host has backed: what was touched, or all that a pool has given |
//!
//! A field that is not known is left out: a backing that was not asked for, under QEMU all that is inside the guest, and `boot_us` and `application_us`
//! of a guest that stamped no milestones or ones that make no sense.

use crate::memory::resident::Resident;
use crate::statistics::ExitCounts;
use guest_interface::host_information::{self, Milestone, milestone};
use std::fmt::{self, Write};
use std::time::{Duration, Instant};

/// Moments of a run, by the clock of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) process_started: Instant,
    pub(crate) guest_started: Instant,
    pub(crate) guest_ended: Instant,
}

/// What a machine on KVM tells beyond the moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside {
    pub(crate) stages: Stages,
    pub(crate) counts: ExitCounts,
    pub(crate) dropped_records: u64,
    pub(crate) resident: Option<Resident>,
}

/// Everything in the line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) host: &'static str,
    pub(crate) backing: Option<&'static str>,
    pub(crate) moments: Moments,
    pub(crate) teardown: Duration,
    pub(crate) inside: Option<Inside>,
}

/// Times within the guest, by its milestones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stages {
    boot_us: Option<u64>,
    application_us: Option<u64>,
}

impl Stages {
    /// Reads the milestones of a host information record, which the guest may have filled with anything.
    pub(crate) fn read(record: &[u8; host_information::LEN], tsc_hz: u64) -> Self {
        let between = |from, to| {
            let ticks = milestone(record, to)?.checked_sub(milestone(record, from)?)?;
            let microseconds = u128::from(ticks) * 1_000_000 / u128::from(tsc_hz.max(1));
            u64::try_from(microseconds).ok()
        };
        Self {
            boot_us: between(Milestone::KernelEntry, Milestone::ApplicationStart),
            application_us: between(Milestone::ApplicationStart, Milestone::ApplicationEnd),
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moments { process_started, guest_started, guest_ended } = self.moments;
        let between = |from, to: Instant| Some(microseconds(to.saturating_duration_since(from)));
        let stages = self.inside.map(|inside| inside.stages).unwrap_or_default();
        let resident = self.inside.and_then(|inside| inside.resident);
        let numbers = [
            ("setup_us", between(process_started, guest_started)),
            ("guest_us", between(guest_started, guest_ended)),
            ("boot_us", stages.boot_us),
            ("application_us", stages.application_us),
            ("teardown_us", Some(microseconds(self.teardown))),
            ("dropped_records", self.inside.map(|inside| inside.dropped_records)),
            ("vmm_peak_rss_kib", resident.map(|resident| resident.vmm_peak_kib)),
            ("guest_resident_kib", resident.map(|resident| resident.guest_kib)),
        ];
        write!(formatter, r#"{{"host":"{}""#, self.host)?;
        if let Some(backing) = self.backing {
            write!(formatter, r#","backing":"{backing}""#)?;
        }
        for (name, number) in numbers {
            if let Some(number) = number {
                write!(formatter, r#","{name}":{number}"#)?;
            }
        }
        if let Some(Inside { counts, .. }) = self.inside {
            write!(formatter, r#","exits":{{"total":{}"#, counts.total())?;
            for (kind, count) in counts.by_kind() {
                write!(formatter, r#","{kind}":{count}"#)?;
            }
            formatter.write_char('}')?;
        }
        formatter.write_char('}')
    }
}

/// Whole microseconds, saturated.
fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 2_000_000_000;

    fn stages(stamps: [u64; 3], hz: u64) -> (Option<u64>, Option<u64>) {
        let mut record = [0; host_information::LEN];
        let all = [Milestone::KernelEntry, Milestone::ApplicationStart, Milestone::ApplicationEnd];
        for (which, stamp) in all.into_iter().zip(stamps) {
            record[which.offset()..which.offset() + 8].copy_from_slice(&stamp.to_le_bytes());
        }
        let stages = Stages::read(&record, hz);
        (stages.boot_us, stages.application_us)
    }

    #[test]
    fn milestones_become_microseconds() {
        assert_eq!(stages([1000, 5000, 205_000], HZ), (Some(2), Some(100)));
    }

    #[test]
    fn milestones_that_make_no_sense_are_left_out() {
        assert_eq!(stages([0, 0, 0], HZ), (None, None), "never stamped");
        assert_eq!(stages([9, 5, 7], HZ), (None, Some(0)), "backwards");
        assert_eq!(stages([1, u64::MAX, 1], 1), (None, None), "beyond 64 bits of microseconds");
        assert_eq!(stages([1, u64::MAX, 1], 0), (None, None), "no frequency");
    }

    fn timing(backing: Option<&'static str>, inside: Option<Inside>) -> String {
        let start = Instant::now();
        let after = |us| start + Duration::from_micros(us);
        let moments = Moments { process_started: start, guest_started: after(100), guest_ended: after(350) };
        Timing { host: "kvm", backing, moments, teardown: Duration::from_micros(7), inside }.to_string()
    }

    #[test]
    fn a_run_on_kvm_tells_all() {
        let inside = Inside {
            stages: Stages { boot_us: Some(40), application_us: None },
            counts: ExitCounts { doorbell: 3, exit: 1, ..Default::default() },
            dropped_records: 2,
            resident: Some(Resident { guest_kib: 2048, vmm_peak_kib: 1500 }),
        };
        let expected = r#"{"host":"kvm","backing":"thp","setup_us":100,"guest_us":250,"boot_us":40,"teardown_us":7,"dropped_records":2,"vmm_peak_rss_kib":1500,"guest_resident_kib":2048,"exits":{"total":4,"doorbell":3,"result":0,"serial":0,"exit":1,"sleep":0,"fw_cfg":0,"unknown_port":0,"mmio":0,"interrupted":0,"other":0}}"#;
        assert_eq!(timing(Some("thp"), Some(inside)), expected);
    }

    #[test]
    fn a_run_under_qemu_tells_only_what_is_outside() {
        assert_eq!(timing(None, None), r#"{"host":"kvm","setup_us":100,"guest_us":250,"teardown_us":7}"#);
    }
}
