//! Bytes as choices. There is always another one, so that everything decodes.

/// What is left of some bytes; zeros follow.
pub(crate) struct Bytes<'b>(core::slice::Iter<'b, u8>);

impl<'b> Bytes<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes.iter())
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    /// The number of two bytes.
    pub(crate) fn two(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One of some values, the first for a zero.
    pub(crate) fn one_of<T: Copy, const COUNT: usize>(&mut self, values: [T; COUNT]) -> T {
        values[usize::from(self.byte()) % COUNT]
    }
}
