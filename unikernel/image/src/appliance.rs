//! Reads a linked appliance: the parts of it that an image is made of.

use crate::error::ImageError;
use crate::names::readable;
use guest_interface::symbols::{LOCATOR_SECTION, Locator};
use object::LittleEndian;
use object::elf::{
    EM_X86_64, ET_EXEC, FileHeader64, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE, PT_NULL, PT_PHDR,
    ProgramHeader64, SHT_SYMTAB, STT_FUNC, STT_NOTYPE,
};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};
use std::cmp::Reverse;
use std::ops::Range;

/// Byte order of all multi-byte fields.
pub(crate) const ENDIAN: LittleEndian = LittleEndian;

/// Largest alignment of a segment, in bytes: a file is padded by as much.
const ALIGN_MAX: u64 = 2 << 20;

/// A segment with its bytes in the file.
pub(crate) struct Segment<'data> {
    pub(crate) header: ProgramHeader64<LittleEndian>,
    pub(crate) bytes: &'data [u8],
}

impl Segment<'_> {
    pub(crate) fn is_load(&self) -> bool {
        self.header.p_type(ENDIAN) == PT_LOAD
    }

    /// Virtual addresses in memory; checked when the segment is read.
    pub(crate) fn addresses(&self) -> Range<u64> {
        let start = self.header.p_vaddr(ENDIAN);
        start..start + self.header.p_memsz(ENDIAN)
    }

    /// Offset into `bytes` of an address range, if all of it comes from the file.
    pub(crate) fn offset_of(&self, addresses: &Range<u64>) -> Option<usize> {
        let start = usize::try_from(addresses.start.checked_sub(self.addresses().start)?).ok()?;
        let len = usize::try_from(addresses.end.checked_sub(addresses.start)?).ok()?;
        self.bytes.get(start..start.checked_add(len)?).map(|_| start)
    }
}

/// A function with its readable name.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) len_bytes: u64,
}

/// The parts of a linked appliance.
pub(crate) struct Appliance<'data> {
    pub(crate) header: &'data FileHeader64<LittleEndian>,
    pub(crate) segments: Vec<Segment<'data>>,
    /// Addresses of the locator.
    pub(crate) locator: Range<u64>,
    /// At least one; no two at the same address.
    pub(crate) functions: Vec<Function>,
}

impl<'data> Appliance<'data> {
    pub(crate) fn read(data: &'data [u8]) -> Result<Self, ImageError> {
        let header = read_header(data)?;
        let segments = read_segments(header, data)?;
        let sections = header.sections(ENDIAN, data).map_err(damaged("its section table"))?;
        let (_, section) =
            sections.section_by_name(ENDIAN, LOCATOR_SECTION.as_bytes()).ok_or(ImageError::NoLocator)?;
        let start = section.sh_addr(ENDIAN);
        let end = start.checked_add(section.sh_size(ENDIAN)).ok_or(ImageError::UnusableLocator)?;
        let symbols = sections.symbols(ENDIAN, data, SHT_SYMTAB).map_err(damaged("its symbol table"))?;

        let mut functions: Vec<Function> = symbols
            .iter()
            .filter(|symbol| matches!(symbol.st_type(), STT_FUNC | STT_NOTYPE))
            .map(|symbol| {
                let mangled = symbols.symbol_name(ENDIAN, symbol).map_err(damaged("a symbol's name"))?;
                Ok(Function {
                    name: readable(&String::from_utf8_lossy(mangled)),
                    address: symbol.st_value(ENDIAN),
                    len_bytes: symbol.st_size(ENDIAN),
                })
            })
            .collect::<Result<_, _>>()?;
        let code = |segment: &Segment<'_>| segment.is_load() && segment.header.p_flags(ENDIAN) & PF_X != 0;
        let code: Vec<Range<u64>> = segments.iter().filter(|it| code(it)).map(Segment::addresses).collect();
        functions.retain(|function| {
            function.len_bytes != 0 && code.iter().any(|range| range.contains(&function.address))
        });
        // Functions with equal code share an address: the longest, then the shortest name, stands for all.
        functions.sort_by(|a, b| {
            let key = |it: &Function| (it.address, Reverse(it.len_bytes), it.name.chars().count());
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        functions.dedup_by_key(|function| function.address);
        if functions.is_empty() {
            return Err(ImageError::NoSymbols);
        }
        Ok(Self { header, segments, locator: start..end, functions })
    }

    /// The load segment that holds the locator, by index, and the locator's offset in its bytes.
    pub(crate) fn locator_place(&self) -> Result<(usize, usize), ImageError> {
        if self.locator.end - self.locator.start != Locator::LEN as u64 {
            return Err(ImageError::UnusableLocator);
        }
        let mut loads = self.segments.iter().enumerate().filter(|(_, segment)| segment.is_load());
        loads
            .find_map(|(index, segment)| Some((index, segment.offset_of(&self.locator)?)))
            .ok_or(ImageError::UnusableLocator)
    }
}

fn damaged(part: &'static str) -> impl Fn(object::read::Error) -> ImageError {
    move |source| ImageError::Damaged { part, source }
}

fn read_header(data: &[u8]) -> Result<&FileHeader64<LittleEndian>, ImageError> {
    if data.len() < size_of::<FileHeader64<LittleEndian>>() {
        return Err(ImageError::TooSmall { len_bytes: data.len() });
    }
    let header = FileHeader64::<LittleEndian>::parse(data).map_err(|_| ImageError::NotElf)?;
    if !header.is_little_endian() {
        return Err(ImageError::NotElf);
    }
    let different = |reason| Err(ImageError::NotStaticExecutable { reason });
    if header.e_machine(ENDIAN) != EM_X86_64 {
        return different("its code is for another processor");
    }
    if header.e_type(ENDIAN) != ET_EXEC {
        return different(
            "its type is not ET_EXEC; link it with Freehold's flags, which RUSTFLAGS in the environment replace",
        );
    }
    Ok(header)
}

/// Reads and checks the segments, without PT_NULL and PT_PHDR: in an image, the program headers are not in memory.
fn read_segments<'data>(
    header: &FileHeader64<LittleEndian>,
    data: &'data [u8],
) -> Result<Vec<Segment<'data>>, ImageError> {
    let mut segments = Vec::new();
    for program_header in header.program_headers(ENDIAN, data).map_err(damaged("its program headers"))? {
        let kind = program_header.p_type(ENDIAN);
        match kind {
            PT_NULL | PT_PHDR => continue,
            PT_INTERP | PT_DYNAMIC => {
                return Err(ImageError::NotStaticExecutable { reason: "it asks for a dynamic linker" });
            }
            _ => {}
        }
        let address = program_header.p_vaddr(ENDIAN);
        let unusable = |reason| ImageError::UnusableSegment { address, reason };
        let bytes = program_header.data(ENDIAN, data).map_err(|()| unusable("it ends behind the file"))?;
        address.checked_add(program_header.p_memsz(ENDIAN)).ok_or(unusable("its addresses overflow"))?;
        if kind == PT_LOAD {
            let align = program_header.p_align(ENDIAN);
            if align > ALIGN_MAX || (align != 0 && !align.is_power_of_two()) {
                return Err(unusable("its alignment is no power of two up to 2 MiB"));
            }
            if program_header.p_memsz(ENDIAN) < bytes.len() as u64 {
                return Err(unusable("it is longer in the file than in memory"));
            }
            if program_header.p_paddr(ENDIAN) != address {
                return Err(unusable("its physical address is another"));
            }
        }
        segments.push(Segment { header: *program_header, bytes });
    }
    let count = segments.iter().filter(|segment| segment.header.p_type(ENDIAN) == PT_NOTE).count();
    if count != 1 {
        return Err(ImageError::Notes { count });
    }
    Ok(segments)
}
