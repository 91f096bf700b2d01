//! A set of addresses as sorted, disjoint, non-adjacent ranges in a fixed array: no allocation, since it says what the
//! allocator may use.

use super::AddressRange;

/// No room for another range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRanges {
    /// How many ranges the set can hold.
    pub capacity: usize,
}

/// At most `CAPACITY` ranges.
#[derive(Clone, Debug)]
pub struct RangeSet<const CAPACITY: usize> {
    ranges: [AddressRange; CAPACITY],
    len: usize,
}

impl<const CAPACITY: usize> RangeSet<CAPACITY> {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: [const { 0..0 }; CAPACITY], len: 0 }
    }

    /// The ranges, in ascending order.
    #[must_use]
    pub fn ranges(&self) -> &[AddressRange] {
        &self.ranges[..self.len]
    }

    /// How many bytes the set covers.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.ranges().iter().map(|range| range.end - range.start).sum()
    }

    /// Whether `address` is in the set.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        self.ranges().iter().any(|range| range.contains(&address))
    }

    /// Adds a range, joining it with those it overlaps or touches.
    ///
    /// # Errors
    /// [`TooManyRanges`], with the set as it was.
    pub fn insert(&mut self, range: &AddressRange) -> Result<(), TooManyRanges> {
        if range.is_empty() {
            return Ok(());
        }
        let first = self.ranges().partition_point(|other| other.end < range.start);
        let behind = self.ranges().partition_point(|other| other.start <= range.end);
        let mut joined = range.clone();
        if let [low, .., high] | [low @ high] = &self.ranges[first..behind] {
            joined = low.start.min(range.start)..high.end.max(range.end);
        }
        self.replace(first, behind, &[joined])
    }

    /// Takes a range away, splitting what it cuts.
    ///
    /// # Errors
    /// [`TooManyRanges`], with the set as it was.
    pub fn remove(&mut self, range: &AddressRange) -> Result<(), TooManyRanges> {
        if range.is_empty() {
            return Ok(());
        }
        let first = self.ranges().partition_point(|other| other.end <= range.start);
        let behind = self.ranges().partition_point(|other| other.start < range.end);
        let ([low, .., high] | [low @ high]) = &self.ranges[first..behind] else {
            return Ok(());
        };
        let below = low.start..range.start.max(low.start);
        let above = range.end.min(high.end)..high.end;
        match (below.is_empty(), above.is_empty()) {
            (true, true) => self.replace(first, behind, &[]),
            (false, true) => self.replace(first, behind, &[below]),
            (true, false) => self.replace(first, behind, &[above]),
            (false, false) => self.replace(first, behind, &[below, above]),
        }
    }

    /// Puts `with` in the place of the ranges `first..behind`.
    fn replace(&mut self, first: usize, behind: usize, with: &[AddressRange]) -> Result<(), TooManyRanges> {
        let len = self.len - (behind - first) + with.len();
        if len > CAPACITY {
            return Err(TooManyRanges { capacity: CAPACITY });
        }
        let tail = first + with.len();
        if tail <= behind {
            self.ranges[tail..self.len].rotate_left(behind - tail);
        } else {
            self.ranges[behind..len].rotate_right(tail - behind);
        }
        self.ranges[first..tail].clone_from_slice(with);
        self.len = len;
        Ok(())
    }
}

impl<const CAPACITY: usize> Default for RangeSet<CAPACITY> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const SPAN: usize = 48;

    /// The set as a plain array of flags, one an address.
    fn check<const CAPACITY: usize>(set: &RangeSet<CAPACITY>, model: &[bool; SPAN]) {
        let members: Vec<bool> = (0..SPAN as u64).map(|address| set.contains(address)).collect();
        assert_eq!(members, model);
        for pair in set.ranges().windows(2) {
            assert!(pair[0].end < pair[1].start, "{pair:?} touch or are out of order");
        }
        assert!(set.ranges().iter().all(|range| !range.is_empty()));
        assert_eq!(set.len_bytes(), model.iter().filter(|member| **member).count() as u64);
    }

    #[test]
    fn random_operations_agree_with_an_array_of_flags() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut refused = 0;
        for _ in 0..500 {
            let mut set = RangeSet::<6>::new();
            let mut model = [false; SPAN];
            for _ in 0..40 {
                let start = next(SPAN as u64);
                let range = start..start + next(SPAN as u64 - start + 1).min(9);
                let insert = next(2) == 0;
                let result = if insert { set.insert(&range) } else { set.remove(&range) };
                match result {
                    Ok(()) => model[range.start as usize..range.end as usize].fill(insert),
                    Err(error) => {
                        refused += 1;
                        assert_eq!(error, TooManyRanges { capacity: 6 });
                    }
                }
                check(&set, &model);
            }
        }
        assert!(refused > 0, "the capacity was never reached");
    }

    #[test]
    fn ranges_at_the_end_of_the_address_space() {
        let mut set = RangeSet::<2>::new();
        set.insert(&(u64::MAX - 1..u64::MAX)).unwrap();
        set.remove(&(0..u64::MAX)).unwrap();
        assert!(set.ranges().is_empty());
    }
}
