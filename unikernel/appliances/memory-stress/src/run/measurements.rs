//! Measurements in a run: bandwidth and latency by working set.

use super::Run;
use crate::document::{BandwidthEntry, LatencyEntry};
use crate::measure::{self, Operation, working_sets};
use crate::memory::{RealRegion, Region, len_bytes};
use crate::platform::{Platform, Thousandths, mib_per_second, nanoseconds};

impl<P: Platform> Run<'_, P> {
    /// The region that measurements use: the first, which is the largest.
    pub(super) fn bandwidth(&mut self, regions: &mut [RealRegion]) {
        let Some(region) = regions.first_mut() else { return };
        let names = Operation::ALL.map(Operation::name);
        self.platform.print(format_args!("bandwidth, MiB/s   "));
        names.iter().for_each(|name| self.platform.print(format_args!(" {name:>8}")));
        self.platform.print(format_args!("\n"));
        for blocks in working_sets(region.len_blocks()) {
            if self.is_late() {
                return;
            }
            let working_set_bytes = len_bytes(blocks);
            self.platform.print(format_args!("{:>12} KiB   ", working_set_bytes >> 10));
            for operation in Operation::ALL {
                let set = &mut region.blocks_mut()[..blocks];
                let (bytes, time) =
                    measure::bandwidth(operation, self.platform.kernels(), set, || self.platform.now());
                let rate = mib_per_second(bytes, time);
                self.platform.print(format_args!(" {rate:>8}"));
                self.document.bandwidth.push(BandwidthEntry {
                    operation: operation.name(),
                    working_set_bytes,
                    mib_per_second: rate,
                });
            }
            self.platform.print(format_args!("\n"));
        }
    }

    pub(super) fn latency(&mut self, regions: &mut [RealRegion]) {
        let Some(region) = regions.first_mut() else { return };
        for blocks in working_sets(region.len_blocks()) {
            if self.is_late() {
                return;
            }
            let working_set_bytes = len_bytes(blocks);
            let (reads, time) = measure::latency(&mut region.blocks_mut()[..blocks], || self.platform.now());
            let picoseconds = nanoseconds(time).saturating_mul(1000) / reads.max(1);
            self.platform.print(format_args!(
                "latency {:>12} KiB {:>8} ns\n",
                working_set_bytes >> 10,
                Thousandths(picoseconds)
            ));
            self.document.latency.push(LatencyEntry { working_set_bytes, picoseconds });
        }
    }
}
