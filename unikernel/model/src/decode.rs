//! Operations from bytes: any bytes are some, and what makes operations meet comes up often.

use crate::bytes::Bytes;
use crate::operation::{Action, Change, Fit, Form, Move, Operation, Release, Step, Supply};
use crate::place::{Length, Part, Place};
use crate::size::Size;
use unikernel::memory::kind::Kind;

const SIZES: [Size; 8] = {
    use Size::{Huge, Large, Small};
    [Small, Small, Large, Small, Large, Small, Huge, Small]
};

fn kind(bytes: &mut Bytes<'_>) -> Kind {
    bytes.one_of([Kind::Tracked, Kind::Tracked, Kind::Mmio, Kind::Kva])
}

impl Operation {
    /// What the bytes say; zeros follow them.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let mut bytes = Bytes::new(bytes);
        let pressure = bytes.byte();
        // One in eight is under pressure.
        let spare = (pressure % 8 == 7).then_some(u64::from(pressure >> 3) % 9);
        Self { action: Action::decode(&mut bytes), spare }
    }
}

impl Action {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        let code = bytes.byte();
        let kind = kind(bytes);
        let range = bytes.byte();
        match code % 32 {
            0 => Self::Reserve {
                kind,
                len: Length::decode_wide(bytes),
                align_bytes: bytes.one_of([
                    1 << 12,
                    1 << 21,
                    1 << 30,
                    1 << 39,
                    1 << 12,
                    1 << 21,
                    0x3000,
                    0x800,
                ]),
            },
            1 | 2 => {
                let part = Part { at: Place::decode(bytes), len: Length::decode_wide(bytes) };
                Self::ReserveAt { kind, part }
            }
            3 => Self::GiveBack { kind, range },
            4 | 5 => Self::Carve { kind, range, part: Part::decode(bytes) },
            6 | 7 => Self::Join { kind, range, other: bytes.byte() },
            8..=15 => {
                let (at, supply) = (Place::decode(bytes), Supply::decode(bytes));
                let brought = bytes.byte();
                Self::Map { kind, range, at, supply, tables: (brought % 4 == 3).then_some(brought >> 2 & 7) }
            }
            16 => Self::Move(Move::decode(range, bytes)),
            17..=19 => Self::Change { kind, range, change: Change::decode(bytes) },
            20..=24 => {
                let control = bytes.byte();
                let count = 1 + control % 8 % 5;
                let mut steps: Vec<Step> = (0..count).map(|_| Step::decode(bytes)).collect();
                // Steps that come back to where the first was find what it left.
                let first = steps[0].place();
                for (index, step) in
                    steps.iter_mut().enumerate().filter(|(index, _)| control >> (3 + index) & 1 == 1)
                {
                    if index > 0 {
                        step.set_place(first);
                    }
                }
                Self::Cursor { kind, range, steps }
            }
            25..=27 => Self::Flush { kind, which: range, release: Release::decode(bytes) },
            28 | 29 => Self::FlushPair {
                kinds: [kind, self::kind(bytes)],
                which: [range, bytes.byte()],
                second_first: bytes.flag(),
            },
            30 if bytes.byte() % 8 == 7 => Self::Forget { kind, which: range },
            _ => Self::Query { kind, range, at: Place::decode(bytes) },
        }
    }
}

impl Move {
    fn decode(range: u8, bytes: &mut Bytes<'_>) -> Self {
        use Change::{Detach, DetachLeafTables as Tables, Unmap};
        let mut part = Part::decode(bytes);
        let [control, fit] = [bytes.byte(), bytes.byte()];
        // Where nothing is, nothing moves.
        if control & 0x80 == 0 {
            part.at = Place::Leaf(fit >> 4);
        }
        let fits = [Fit::OddSource, Fit::OddTarget, Fit::Longer];
        Self {
            range,
            part,
            before: (control & 1 == 1).then(|| Change::decode(bytes)),
            change: [Tables, Tables, Tables, Tables, Tables, Tables, Unmap, Detach]
                [usize::from(control >> 1 & 7)],
            target: bytes.byte(),
            at: Place::decode(bytes),
            tables: control >> 4 & 7,
            fit: fits.get(usize::from(fit % 16)).copied().unwrap_or(Fit::Fits),
        }
    }
}

impl Supply {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        let [what, rights] = [bytes.byte(), bytes.byte()];
        let size = SIZES[usize::from(what % 8)];
        let form = match what >> 3 & 3 {
            0 => Form::Single,
            1 => Form::Run,
            2 => Form::Batch(rights >> 2),
            _ => [Form::Run, Form::Taken, Form::Page, Form::Page][usize::from(what >> 6)],
        };
        let counts: [u64; 8] = match size {
            Size::Small => [512, 1, 2, 3, 9, 511, 513, 0],
            _ => [1, 2, 1, 512, 1, 3, 2, 0],
        };
        let (size, count) = match form {
            Form::Page => (Size::Small, 1),
            Form::Single => (size, 1),
            _ => (size, counts[usize::from(what >> 5)]),
        };
        Self { size, count, form, memory: rights >> 3, rights, exact: rights & 4 == 4 }
    }
}

impl Change {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        let code = bytes.byte();
        let size = if code < 0xc0 { Size::Large } else { Size::Huge };
        match code % 8 {
            0 => Self::Unmap,
            1 if code & 0x40 == 0 => Self::Detach,
            1 => Self::DetachLeafTables,
            2 => Self::Trim,
            3 => Self::Protect(code >> 3),
            4 | 5 => Self::Split(size, Place::decode(bytes)),
            _ => Self::Promote(size, Place::decode(bytes)),
        }
    }
}

impl Step {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        match bytes.byte() % 8 {
            0 => Self::Change(Change::decode(bytes), Part::WHOLE),
            1..=4 => Self::Change(Change::decode(bytes), Part::decode(bytes)),
            5 | 6 => Self::Map(Place::decode(bytes), Supply::decode(bytes)),
            _ => Self::Query(Place::decode(bytes)),
        }
    }

    /// Where it works.
    fn place(&self) -> Place {
        match self {
            Self::Change(_, Part { at, .. }) | Self::Map(at, _) | Self::Query(at) => *at,
        }
    }

    fn set_place(&mut self, place: Place) {
        match self {
            // What is done to all of the range stays so.
            Self::Change(_, part) if *part == Part::WHOLE => {}
            Self::Change(_, Part { at, .. }) | Self::Map(at, _) | Self::Query(at) => *at = place,
        }
    }
}

impl Release {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        match bytes.byte() % 4 {
            0 => Self::Shootdown,
            1 => Self::Inactive,
            2 => Self::Take(bytes.one_of(SIZES), Place::decode(bytes)),
            _ => Self::Take(Size::Small, Place::Leaf(bytes.byte())),
        }
    }
}
