//! The shootdown of a machine with one CPU that runs: its own TLB.

use super::{HOST, Live};
use crate::memory::page_table::{FlushRequest, Shootdown};
use x86::controlregs::{cr3, cr3_write};
use x86::tlb::flush;

/// Flushes the TLB of the one CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFlush;

// SAFETY: 1 and 2, no other CPU runs. INVLPG drops the page's TLB entries and what paging-structure caches hold of it, and
// a load of CR3 all of both, since no entry is global and there are no PCIDs (Intel SDM volume 3, 4.10.4.1; AMD APM volume
// 2, 5.5). 3, both instructions serialize this CPU's accesses.
unsafe impl Shootdown<Live> for LocalFlush {
    fn invalidate(&self, request: &FlushRequest) {
        let max = HOST.get().map_or(0, |host| host.flush_all_threshold_pages as u64);
        match request.pages(max) {
            Some(pages) => {
                for page in pages {
                    // SAFETY: forgetting translations is always sound.
                    unsafe { flush(page.as_u64() as usize) };
                }
            }
            // SAFETY: the same root again.
            None => unsafe { cr3_write(cr3()) },
        }
    }
}
