//! The seam to what maps: the guest's page tables, or the host's `mmap`.

use alloc::string::String;

/// The length of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
}

/// What the memory of a mapping is taken as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One frame.
    Single,
    /// Frames that lie side by side.
    Run,
    /// Frames that lie wherever there are some.
    Batch,
}

/// What is mapped and unmapped at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// How long its pages are.
    pub page: Page,
    /// How many it has.
    pub count: u64,
    /// What the memory is taken as.
    pub form: Form,
}

impl Page {
    /// Its length in bytes.
    #[must_use]
    pub const fn len_bytes(self) -> u64 {
        match self {
            Self::Small => 4 << 10,
            Self::Large => 2 << 20,
        }
    }
}

impl Portion {
    /// How many bytes it has.
    #[must_use]
    pub const fn len_bytes(self) -> u64 {
        self.count * self.page.len_bytes()
    }

    /// What it is called in reports.
    #[must_use]
    pub fn name(self) -> String {
        let page = match self.page {
            Page::Small => "4k",
            Page::Large => "2m",
        };
        match self.form {
            Form::Single => alloc::format!("{page}-single"),
            Form::Run => alloc::format!("{page}-run-{}", self.count),
            Form::Batch => alloc::format!("{page}-batch-{}", self.count),
        }
    }
}

/// Why something was not mapped, unmapped or given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapError {
    /// There is not enough memory, or not in this form.
    NoRoom,
    /// It should have been done; says what was the matter.
    Refused(String),
}

/// What maps memory.
///
/// # Safety
/// From `map` of a range to its `unmap`, `word` leads to all of the memory that was mapped there, which nobody else uses.
pub unsafe trait Mapper {
    /// The right to map at some addresses.
    type Range;

    /// Bytes that could be mapped.
    fn free_bytes(&self) -> u64;

    /// Whether it can map this kind of portion, given the room.
    fn takes(&self, portion: Portion) -> bool;

    /// Takes addresses for a portion.
    ///
    /// # Errors
    /// Nothing was taken.
    fn reserve(&self, portion: Portion) -> Result<Self::Range, MapError>;

    /// Takes memory for a portion, and maps it.
    ///
    /// # Errors
    /// Nothing is mapped.
    fn map(&self, range: &mut Self::Range, portion: Portion) -> Result<(), MapError>;

    /// Where the word at an offset into the range lies, which is a multiple of 8.
    fn word(&self, range: &Self::Range, offset: u64) -> *mut u64;

    /// Unmaps all of the range, and frees the memory.
    ///
    /// # Errors
    /// The range is lost.
    fn unmap(&self, range: Self::Range) -> Result<Self::Range, MapError>;

    /// Gives addresses back.
    ///
    /// # Errors
    /// The range is lost.
    fn give_back(&self, range: Self::Range) -> Result<(), MapError>;

    /// Frees what is only kept for mappings to come.
    ///
    /// # Errors
    /// Some may be kept.
    fn trim(&self) -> Result<(), MapError>;
}
