//! The memory above 1 MiB, which a kernel is loaded into.

use guest_interface::layout::HIGH_RAM_START;

/// First address of what is loaded into.
pub const START: u32 = HIGH_RAM_START as u32;
/// End of what is loaded into: the ROM maps no more.
pub const END: u32 = 1 << 30;

/// Access to [`START`] to [`END`]. The trait is the seam for tests.
pub trait Ram {
    /// The `len` bytes at `address`, or `None` where they are not all between [`START`] and [`END`]. Where the machine has no
    /// RAM they read as anything, and don't keep what is written.
    fn bytes(&mut self, address: u32, len: u32) -> Option<&mut [u8]>;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// RAM from [`START`] on, full of something.
    pub(crate) struct Bytes(pub(crate) Vec<u8>);

    impl Bytes {
        pub(crate) fn new(len: usize) -> Self {
            Self(vec![0xa5; len])
        }
    }

    impl Ram for Bytes {
        fn bytes(&mut self, address: u32, len: u32) -> Option<&mut [u8]> {
            let start = address.checked_sub(START)? as usize;
            self.0.get_mut(start..start + len as usize)
        }
    }
}
