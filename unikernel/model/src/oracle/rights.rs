//! What mappings allow, in one form for all kinds.

use unikernel::memory::kind::Kind;

/// How memory is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    WriteBack,
    Uncached,
    WriteCombining,
}

/// What a leaf allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) write: bool,
    pub(crate) execute: bool,
    pub(crate) cache: Cache,
}

impl Rights {
    pub(crate) const READ_ONLY: Self = Self { write: false, execute: false, cache: Cache::WriteBack };

    /// Some that the kind has.
    pub(crate) const fn choose(kind: Kind, byte: u8) -> Self {
        let write = byte & 1 == 0;
        match kind {
            Kind::Tracked => Self { write, ..Self::READ_ONLY },
            Kind::Mmio => {
                let cache = if byte & 2 == 0 { Cache::WriteCombining } else { Cache::Uncached };
                Self { write, execute: false, cache }
            }
            Kind::Kva => Self { write, execute: !write && byte & 2 == 0, cache: Cache::WriteBack },
        }
    }

    /// Whether a stale translation would allow what these do not.
    pub(crate) fn lessened_by(self, after: Self) -> bool {
        self.write && !after.write || self.execute && !after.execute || self.cache != after.cache
    }
}
