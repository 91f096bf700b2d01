//! Packs appliances built in memory and judges the images as a loader would.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod elf;

use elf::{Appliance, BASE, DATA, END, ENTRY, LOCATOR, NOTE_LEN, TEXT, TEXT_LEN};
use guest_interface::symbols::{LOCATOR_SECTION, Locator, PROGRAM_HEADER_TYPE, SymbolTable};
use image_tool::{ImageError, pack};
use object::LittleEndian;
use object::elf::{FileHeader64, PF_R, PT_GNU_STACK, PT_LOAD, PT_NOTE, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

const LE: LittleEndian = LittleEndian;

struct Image(Vec<u8>);

impl Image {
    fn of(appliance: &Appliance) -> Self {
        Self(pack(&appliance.build()).unwrap().image)
    }

    fn header(&self) -> &FileHeader64<LittleEndian> {
        FileHeader64::parse(&*self.0).unwrap()
    }

    fn segments(&self, kind: u32) -> Vec<&ProgramHeader64<LittleEndian>> {
        let headers = self.header().program_headers(LE, &*self.0).unwrap();
        headers.iter().filter(|header| header.p_type(LE) == kind).collect()
    }

    /// What a loader would put at an address.
    fn loaded(&self, address: u64, len: usize) -> &[u8] {
        let loads = self.segments(PT_LOAD);
        let holds = |header: &&&ProgramHeader64<LittleEndian>| {
            (header.p_paddr(LE)..header.p_paddr(LE) + header.p_filesz(LE)).contains(&address)
        };
        let header = loads.iter().find(holds).unwrap();
        let into = (address - header.p_paddr(LE)) as usize;
        &header.data(LE, &*self.0).unwrap()[into..into + len]
    }

    fn locator(&self) -> (u64, u64) {
        let bytes = self.loaded(LOCATOR, Locator::LEN);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        (word(0), word(8))
    }
}

#[test]
fn the_appliance_is_loaded_as_it_was() {
    let image = Image::of(&Appliance::default());
    assert_eq!(image.header().e_entry(LE), ENTRY);
    for (start, len) in [(BASE, elf::RODATA_LEN), (TEXT, TEXT_LEN), (DATA, elf::DATA_LEN)] {
        let expected: Vec<u8> = (start..start + len).map(Appliance::byte_at).collect();
        let mut loaded = image.loaded(start, len as usize).to_vec();
        if start == BASE {
            let locator = (LOCATOR - BASE) as usize;
            loaded[locator..locator + Locator::LEN].fill(0);
        }
        assert_eq!(loaded, expected, "at {start:#x}");
    }
    let data = image.segments(PT_LOAD)[2];
    assert_eq!((data.p_vaddr(LE), data.p_memsz(LE)), (DATA, elf::DATA_MEMORY_LEN));
    let [note] = image.segments(PT_NOTE)[..] else { panic!("exactly one note segment") };
    let expected: Vec<u8> = (BASE..BASE + NOTE_LEN).map(Appliance::byte_at).collect();
    assert_eq!(note.data(LE, &*image.0).unwrap(), expected);
    assert_eq!(image.segments(PT_GNU_STACK).len(), 1);
}

#[test]
fn sections_are_gone_and_offsets_are_congruent() {
    let appliance = Appliance::default();
    let image = Image::of(&appliance);
    let header = image.header();
    assert_eq!((header.e_shoff(LE), header.e_shnum(LE), header.e_shstrndx(LE)), (0, 0, 0));
    assert_eq!(usize::from(header.e_phnum(LE)), appliance.segments.len() + 2);
    let mut ends = vec![64 + 56 * u64::from(header.e_phnum(LE))];
    for load in image.segments(PT_LOAD) {
        assert_eq!(load.p_offset(LE) % load.p_align(LE), load.p_vaddr(LE) % load.p_align(LE));
        assert!(load.p_offset(LE) >= *ends.last().unwrap(), "segments overlap in the file");
        ends.push(load.p_offset(LE) + load.p_filesz(LE));
    }
    assert_eq!(image.0.len() as u64, *ends.last().unwrap(), "something lies behind the last segment");
}

#[test]
fn the_symbol_table_is_found_by_locator_and_header() {
    let image = Image::of(&Appliance::default());
    let (address, len) = image.locator();
    assert_eq!(address, END.next_multiple_of(4096));
    let load = *image.segments(PT_LOAD).last().unwrap();
    let [marker] = image.segments(PROGRAM_HEADER_TYPE)[..] else { panic!("exactly one marker") };
    for header in [load, marker] {
        assert_eq!((header.p_vaddr(LE), header.p_paddr(LE)), (address, address));
        assert_eq!((header.p_filesz(LE), header.p_memsz(LE)), (len, len));
        assert_eq!((header.p_flags(LE), header.p_align(LE)), (PF_R, 4096));
        assert_eq!(header.p_offset(LE), load.p_offset(LE));
    }
    let table = SymbolTable::new(image.loaded(address, len as usize)).unwrap();
    let name = |address| table.find(address).map(|(symbol, offset)| (symbol.name, offset));
    assert_eq!(name(TEXT + 0x7f), Some(("start", 0x7f)), "the alias with the shorter name");
    assert_eq!(name(TEXT + 0x83), Some(("sized_label", 3)));
    assert_eq!(name(TEXT + 0x90), None, "a label without a size");
    assert_eq!(name(TEXT + 0xa0), None, "not a function");
    assert_eq!(name(TEXT + 0x110), Some(("appliance::late", 0x10)), "demangled, without hash");
    assert_eq!(name(DATA), None, "not in an executable segment");
}

#[test]
fn the_same_appliance_gives_the_same_image() {
    let mut shuffled = Appliance::default();
    shuffled.symbols.reverse();
    assert_eq!(pack(&shuffled.build()).unwrap(), pack(&Appliance::default().build()).unwrap());
}

fn refusal(change: impl FnOnce(&mut Appliance)) -> ImageError {
    let mut appliance = Appliance::default();
    change(&mut appliance);
    pack(&appliance.build()).unwrap_err()
}

#[test]
fn what_is_no_appliance_is_refused() {
    use ImageError as E;
    assert!(matches!(pack(&[]), Err(E::TooSmall { len_bytes: 0 })));
    assert!(matches!(pack(&[b'x'; 100]), Err(E::NotElf)));
    assert!(matches!(refusal(|it| it.kind = object::elf::ET_DYN), E::NotStaticExecutable { .. }));
    assert!(matches!(refusal(|it| it.machine = object::elf::EM_AARCH64), E::NotStaticExecutable { .. }));
    assert!(matches!(
        refusal(|it| it.segments[4].p_type = object::elf::PT_INTERP),
        E::NotStaticExecutable { .. }
    ));
    assert!(matches!(refusal(|it| it.locator_section = None), E::NoLocator));
    assert!(matches!(refusal(|it| it.locator_len = 8), E::UnusableLocator));
    assert!(matches!(refusal(|it| it.segments[0].p_filesz = 0x1f), E::UnusableLocator));
    assert!(matches!(refusal(|it| it.symbols.clear()), E::NoSymbols));
    assert!(matches!(refusal(|it| it.symbols.retain(|symbol| symbol.2 == DATA)), E::NoSymbols));
    assert!(matches!(refusal(|it| it.segments[3].p_type = object::elf::PT_NULL), E::Notes { count: 0 }));
    assert!(matches!(refusal(|it| it.segments[4].p_type = PT_NOTE), E::Notes { count: 2 }));
    assert!(matches!(refusal(|it| it.segments[1].p_align = 3), E::UnusableSegment { address: TEXT, .. }));
    assert!(matches!(refusal(|it| it.segments[1].p_filesz = u64::MAX), E::UnusableSegment { .. }));
    assert!(matches!(refusal(|it| it.segments[2].p_memsz = u64::MAX), E::UnusableSegment { .. }));
    assert!(matches!(refusal(|it| it.segments[2].p_paddr = 0), E::UnusableSegment { address: DATA, .. }));
}

#[test]
fn an_image_is_not_packed_twice() {
    let image = Image::of(&Appliance::default());
    let error = pack(&image.0).unwrap_err();
    assert!(matches!(error, ImageError::NoLocator));
    assert!(error.to_string().contains(LOCATOR_SECTION) && error.to_string().contains("packed already"));
}

#[test]
fn a_file_cut_anywhere_is_refused_or_packed_the_same() {
    let whole = Appliance::default().build();
    let packed = pack(&whole).unwrap();
    for len in 0..whole.len() {
        if let Ok(cut) = pack(&whole[..len]) {
            assert_eq!(cut, packed, "cut to {len} of {}", whole.len());
        }
    }
}

#[test]
fn a_file_changed_anywhere_never_panics() {
    let whole = Appliance::default().build();
    let headers = 64 + 56 * Appliance::default().segments.len();
    let behind_segments = (DATA - BASE + 0x1000) as usize;
    for index in (0..headers).chain(behind_segments..whole.len()) {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[index] ^= 1 << bit;
            let _ = pack(&changed);
        }
    }
}
