//! Memory of the host.

use core::alloc::Layout;
use core::ptr::NonNull;

/// Owned memory, with any content.
pub(super) struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    /// So many bytes, not 0.
    pub(super) fn new(len_bytes: usize, align_bytes: usize) -> Self {
        let Ok(layout) = Layout::from_size_align(len_bytes, align_bytes) else {
            panic!("no memory has {len_bytes} bytes aligned to {align_bytes}")
        };
        // SAFETY: the length is not 0.
        match NonNull::new(unsafe { std::alloc::alloc(layout) }) {
            Some(start) => Self { start, layout },
            None => std::alloc::handle_alloc_error(layout),
        }
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}
