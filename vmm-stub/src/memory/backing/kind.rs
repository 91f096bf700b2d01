//! The kinds of host memory that guest RAM can be.

use super::HUGE_PAGE_LEN;
use crate::memory::size::MemoryLen;
use clap::ValueEnum;

/// What host memory lies behind guest RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backing {
    /// Pages of 4 KiB, whatever the host's setting is.
    Anonymous,
    /// Transparent huge pages, except for the first 2 MiB.
    Thp,
    /// Pages of the host's pool of 2 MiB pages, all taken and cleared at the start.
    #[value(name = "hugetlb-2m")]
    Hugetlb2m,
}

impl Backing {
    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Thp => "thp",
            Self::Hugetlb2m => "hugetlb-2m",
        }
    }

    /// Whether RAM of this size can be made of it.
    pub(crate) const fn fits(self, memory: MemoryLen) -> bool {
        !matches!(self, Self::Hugetlb2m) || memory.bytes().is_multiple_of(HUGE_PAGE_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backings_are_named_as_they_are_asked_for() {
        for backing in Backing::value_variants() {
            assert_eq!(backing.to_possible_value().unwrap().get_name(), backing.name());
        }
    }

    #[test]
    fn only_the_pool_demands_whole_huge_pages() {
        let odd = MemoryLen::new((64 << 20) + 4096).unwrap();
        let fitting: Vec<_> = Backing::value_variants().iter().filter(|backing| backing.fits(odd)).collect();
        assert_eq!(fitting, [&Backing::Anonymous, &Backing::Thp]);
        assert!(Backing::Hugetlb2m.fits(MemoryLen::new(66 << 20).unwrap()));
    }
}
