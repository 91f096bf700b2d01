//! A small linked appliance, built in memory, with every part that a test may want to change.

use guest_interface::symbols::LOCATOR_SECTION;
use object::elf::{
    EM_X86_64, ET_EXEC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_LOAD, PT_NOTE, SHF_ALLOC, SHT_PROGBITS, STB_LOCAL,
    STT_FUNC, STT_NOTYPE, STT_OBJECT,
};
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Writer};

pub(crate) const BASE: u64 = 0x20_0000;
pub(crate) const ENTRY: u64 = TEXT + 0x10;
pub(crate) const NOTE_LEN: u64 = 0x14;
pub(crate) const LOCATOR: u64 = BASE + 0x18;
pub(crate) const RODATA_LEN: u64 = 0x40;
pub(crate) const TEXT: u64 = BASE + 0x1000;
pub(crate) const TEXT_LEN: u64 = 0x321;
pub(crate) const DATA: u64 = BASE + 0x2008;
pub(crate) const DATA_LEN: u64 = 0x10;
/// With a .bss that ends in the middle of a page.
pub(crate) const DATA_MEMORY_LEN: u64 = 0x2100;
pub(crate) const END: u64 = DATA + DATA_MEMORY_LEN;

const PAGE: u64 = 0x1000;

pub(crate) struct Appliance {
    pub(crate) kind: u16,
    pub(crate) machine: u16,
    pub(crate) locator_section: Option<&'static str>,
    pub(crate) locator_len: u64,
    pub(crate) segments: Vec<ProgramHeader>,
    /// Name, kind, address, length.
    pub(crate) symbols: Vec<(&'static str, u8, u64, u64)>,
}

impl Default for Appliance {
    fn default() -> Self {
        let load = |p_flags, address: u64, filesz, memsz| ProgramHeader {
            p_type: PT_LOAD,
            p_flags,
            p_offset: address - BASE + PAGE,
            p_vaddr: address,
            p_paddr: address,
            p_filesz: filesz,
            p_memsz: memsz,
            p_align: PAGE,
        };
        let note = ProgramHeader { p_type: PT_NOTE, p_align: 4, ..load(PF_R, BASE, NOTE_LEN, NOTE_LEN) };
        let stack = ProgramHeader { p_type: PT_GNU_STACK, p_offset: 0, ..load(PF_R | PF_W, BASE, 0, 0) };
        Self {
            kind: ET_EXEC,
            machine: EM_X86_64,
            locator_section: Some(LOCATOR_SECTION),
            locator_len: 16,
            segments: vec![
                load(PF_R, BASE, RODATA_LEN, RODATA_LEN),
                load(PF_R | PF_X, TEXT, TEXT_LEN, TEXT_LEN),
                load(PF_R | PF_W, DATA, DATA_LEN, DATA_MEMORY_LEN),
                note,
                ProgramHeader { p_vaddr: 0, p_paddr: 0, ..stack },
            ],
            symbols: vec![
                ("_ZN9appliance4late17hf03255f476d3cf2eE", STT_FUNC, TEXT + 0x100, 0x20),
                ("start", STT_FUNC, TEXT, 0x80),
                ("start_alias_with_longer_name", STT_FUNC, TEXT, 0x80),
                ("sized_label", STT_NOTYPE, TEXT + 0x80, 4),
                ("label", STT_NOTYPE, TEXT + 0x90, 0),
                ("variable", STT_OBJECT, TEXT + 0xa0, 8),
                ("function_outside", STT_FUNC, DATA, 8),
            ],
        }
    }
}

impl Appliance {
    /// The bytes at `address` as the appliance has them in its segments.
    pub(crate) fn byte_at(address: u64) -> u8 {
        if (LOCATOR..LOCATOR + 16).contains(&address) { 0 } else { (address % 251) as u8 }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::new(object::Endianness::Little, true, &mut file);
        let section = self.locator_section.map(|name| writer.add_section_name(name.as_bytes()));
        let names: Vec<_> =
            self.symbols.iter().map(|symbol| writer.add_string(symbol.0.as_bytes())).collect();
        writer.reserve_file_header();
        writer.reserve_program_headers(self.segments.len() as u32);
        let loaded_end = PAGE + DATA - BASE + DATA_LEN;
        writer.reserve_until(loaded_end as usize);
        writer.reserve_null_section_index();
        if section.is_some() {
            writer.reserve_section_index();
        }
        writer.reserve_null_symbol_index();
        for _ in &self.symbols {
            writer.reserve_symbol_index(None);
        }
        if !self.symbols.is_empty() {
            writer.reserve_symtab_section_index();
            writer.reserve_symtab();
            writer.reserve_strtab_section_index();
            writer.reserve_strtab();
        }
        writer.reserve_shstrtab_section_index();
        writer.reserve_shstrtab();
        writer.reserve_section_headers();

        let header = FileHeader {
            os_abi: 0,
            abi_version: 0,
            e_type: self.kind,
            e_machine: self.machine,
            e_entry: ENTRY,
            e_flags: 0,
        };
        writer.write_file_header(&header).unwrap();
        writer.write_align_program_headers();
        for segment in &self.segments {
            writer.write_program_header(segment);
        }
        writer.pad_until(PAGE as usize);
        let loaded: Vec<u8> = (BASE..BASE + loaded_end - PAGE).map(Self::byte_at).collect();
        writer.write(&loaded);
        if !self.symbols.is_empty() {
            writer.write_null_symbol();
            for ((_, kind, address, len), name) in self.symbols.iter().zip(names) {
                writer.write_symbol(&Sym {
                    name: Some(name),
                    section: None,
                    st_info: (STB_LOCAL << 4) | kind,
                    st_other: 0,
                    st_shndx: object::elf::SHN_ABS,
                    st_value: *address,
                    st_size: *len,
                });
            }
            writer.write_strtab();
        }
        writer.write_shstrtab();
        writer.write_null_section_header();
        if let Some(name) = section {
            writer.write_section_header(&SectionHeader {
                name: Some(name),
                sh_type: SHT_PROGBITS,
                sh_flags: u64::from(SHF_ALLOC),
                sh_addr: LOCATOR,
                sh_offset: LOCATOR - BASE + PAGE,
                sh_size: self.locator_len,
                sh_link: 0,
                sh_info: 0,
                sh_addralign: 8,
                sh_entsize: 0,
            });
        }
        if !self.symbols.is_empty() {
            writer.write_symtab_section_header(1 + self.symbols.len() as u32);
            writer.write_strtab_section_header();
        }
        writer.write_shstrtab_section_header();
        assert_eq!(writer.reserved_len(), writer.len());
        file
    }
}
