//! The EFI system partition: a FAT volume with the UEFI loader, and with what it loads. The same files always give the same
//! bytes.
//!
//! A file system that nothing was deleted from gives a file blocks that follow each other, so a loader that knows no file system
//! can read them as well: [`block_of`] says where they are. Clusters are aligned: a CD has sectors of four blocks. The kernel comes
//! last, as the loader then still says what is missing on a disk that breaks off.

use crate::disk::{ALIGN_BLOCKS, blocks};
use crate::error::UefiLoaderError;
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use image_header::BLOCK_LEN;
use object::LittleEndian;
use object::pe::{IMAGE_FILE_MACHINE_AMD64, IMAGE_SUBSYSTEM_EFI_APPLICATION, ImageNtHeaders64};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile};
use sha2::{Digest, Sha256};
use std::io::{self, Cursor, Write};
use std::ops::Range;

/// The folders, in the order in which they are made.
const FOLDERS: [&str; 3] = ["EFI", "EFI/BOOT", "FREEHOLD"];
/// What firmware starts from a disk that it knows nothing of (UEFI specification 3.5.1.1).
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
/// Its name in its folder.
const LOADER_ENTRY: &[u8] = b"BOOTX64 EFI";
const HEADER: &str = "FREEHOLD/HEADER";
const COMMAND_LINE: &str = "FREEHOLD/CMDLINE";
const KERNEL: &str = "FREEHOLD/KERNEL";

/// The name of the volume.
const LABEL: [u8; 11] = *b"FREEHOLD   ";

/// Entries of the first folder in a block.
const ROOT_ENTRIES_OF_BLOCK: u16 = 16;

/// Most clusters that a FAT of 16 bits has room for.
const CLUSTERS_MAX: u32 = 65_524;

/// Numbers of clusters that are not used: a FAT has entries of 12 bits with up to 4084, else of 16, and close to that not every
/// program finds out which.
const CLUSTERS_UNCLEAR: Range<u32> = 4040..4200;

/// Blocks that the volume has beyond those that are counted, as `fatfs` rounds the length of a FAT up.
const SPARE_BLOCKS: u32 = 8;

/// The files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Files<Bytes> {
    /// The UEFI loader.
    pub(crate) loader: Bytes,
    /// The block that the BIOS loader reads, too.
    pub(crate) header: Bytes,
    /// The command line with its NUL.
    pub(crate) command_line: Bytes,
    /// The appliance's ELF file.
    pub(crate) kernel: Bytes,
}

impl<Bytes> Files<Bytes> {
    /// With their paths, in the order in which they are written.
    fn by_path(&self) -> [(&'static str, &Bytes); 4] {
        [
            (LOADER, &self.loader),
            (HEADER, &self.header),
            (COMMAND_LINE, &self.command_line),
            (KERNEL, &self.kernel),
        ]
    }
}

/// Makes the volume.
///
/// # Errors
/// Those of `fatfs`, for files that are too large.
pub(crate) fn make(files: &Files<&[u8]>) -> io::Result<Vec<u8>> {
    let mut hash = Sha256::new();
    for (_, bytes) in files.by_path() {
        hash.update(bytes);
    }
    let [first, second, third, fourth, ..] = <[u8; 32]>::from(hash.finalize());

    let serial = u32::from_le_bytes([first, second, third, fourth]);
    let mut volume = empty(files.by_path().map(|(_, bytes)| blocks(bytes.len())), serial)?;
    {
        let file_system = FileSystem::new(Cursor::new(&mut volume[..]), FsOptions::new())?;
        let root = file_system.root_dir();
        for folder in FOLDERS {
            root.create_dir(folder)?;
        }
        for (path, bytes) in files.by_path() {
            root.create_file(path)?.write_all(bytes)?;
        }
    }
    Ok(volume)
}

/// A volume with room for files of so many blocks, whose clusters begin at multiples of [`ALIGN_BLOCKS`].
fn empty(lens: [u32; 4], serial: u32) -> io::Result<Vec<u8>> {
    let mut cluster_blocks = ALIGN_BLOCKS;
    let clusters = |cluster_blocks: u32| {
        lens.iter().map(|len| len.div_ceil(cluster_blocks)).sum::<u32>() + FOLDERS.len() as u32
    };
    while clusters(cluster_blocks) + SPARE_BLOCKS > CLUSTERS_MAX {
        cluster_blocks *= 2;
    }
    let mut clusters = clusters(cluster_blocks);
    if CLUSTERS_UNCLEAR.contains(&clusters) {
        clusters = CLUSTERS_UNCLEAR.end;
    }
    // Two FATs; those of 12 bits an entry are shorter.
    let fat_blocks = blocks(2 * (clusters as usize + 2));
    let others = clusters * cluster_blocks + 2 * fat_blocks + 1 + SPARE_BLOCKS;

    let formatted = |root_blocks: u32| {
        let options = FormatVolumeOptions::new()
            .bytes_per_cluster(cluster_blocks * BLOCK_LEN as u32)
            .max_root_dir_entries(root_blocks as u16 * ROOT_ENTRIES_OF_BLOCK)
            .volume_id(serial)
            .volume_label(LABEL);
        let mut volume = vec![0; (others + root_blocks) as usize * BLOCK_LEN];
        format_volume(Cursor::new(&mut volume[..]), options)?;
        Ok::<_, io::Error>(volume)
    };
    // The first folder is as long as it has to be for the first cluster, which is behind it, to be aligned.
    let first_cluster = first_cluster(&formatted(1)?);
    formatted(1 + first_cluster.next_multiple_of(ALIGN_BLOCKS) - first_cluster)
}

/// The block of a volume's first cluster: behind reserved blocks, FATs and first folder (Microsoft's FAT specification, BPB).
fn first_cluster(volume: &[u8]) -> u32 {
    let word = |at: usize| u32::from(u16::from_le_bytes([volume[at], volume[at + 1]]));
    word(14) + u32::from(volume[16]) * word(22) + word(17) / u32::from(ROOT_ENTRIES_OF_BLOCK)
}

/// The block of a volume that a file's content begins in, if it is there in one piece, at a multiple of [`ALIGN_BLOCKS`].
pub(crate) fn block_of(volume: &[u8], content: &[u8]) -> Option<u32> {
    let mut places = (0..blocks(volume.len())).step_by(ALIGN_BLOCKS as usize);
    places.find(|block| volume[*block as usize * BLOCK_LEN..].starts_with(content))
}

/// The UEFI loader in a volume that [`make`] has made. Of any other it is something else, or nothing.
pub(crate) fn loader(volume: &[u8]) -> Option<&[u8]> {
    // A folder's entry (Microsoft's FAT specification, section 6): name, first cluster, of which the first is 2, and length.
    let entry = volume.chunks_exact(32).find(|entry| entry.starts_with(LOADER_ENTRY))?;
    let cluster = usize::from(u16::from_le_bytes(*entry[26..].first_chunk()?)).checked_sub(2)?;
    let len_bytes = u32::from_le_bytes(*entry[28..].first_chunk()?) as usize;
    let cluster_blocks = usize::from(*volume.get(13)?);
    let block = first_cluster(volume) as usize + cluster * cluster_blocks;
    volume.get(block * BLOCK_LEN..)?.get(..len_bytes)
}

/// Checks that a file is what UEFI firmware starts on this processor.
///
/// # Errors
/// [`UefiLoaderError`].
pub(crate) fn check_loader(file: &[u8]) -> Result<(), UefiLoaderError> {
    let pe = PeFile::<ImageNtHeaders64>::parse(file).map_err(|_| UefiLoaderError::NoPe)?;
    let headers = pe.nt_headers();
    if headers.file_header().machine.get(LittleEndian) != IMAGE_FILE_MACHINE_AMD64
        || headers.optional_header().subsystem() != IMAGE_SUBSYSTEM_EFI_APPLICATION
    {
        return Err(UefiLoaderError::OtherProgram);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Read;

    /// The least file that counts as a loader.
    pub(crate) fn loader() -> Vec<u8> {
        let mut file = vec![0; 0x400];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &0x80u32.to_le_bytes());
        put(0x80, b"PE\0\0\x64\x86");
        put(0x80 + 20, &0xf0u16.to_le_bytes());
        put(0x98, &[0x0b, 2]);
        put(0x98 + 68, &[10]);
        put(0x98 + 108, &16u32.to_le_bytes());
        file
    }

    /// Reads the files of a volume as a file system.
    pub(crate) fn read(volume: &[u8]) -> io::Result<Files<Vec<u8>>> {
        let file_system = FileSystem::new(Cursor::new(volume.to_vec()), FsOptions::new())?;
        let root = file_system.root_dir();
        let content = |path| {
            let mut content = Vec::new();
            // No file is longer than the volume, whatever its folder says.
            root.open_file(path)?.take(volume.len() as u64).read_to_end(&mut content)?;
            Ok::<_, io::Error>(content)
        };
        Ok(Files {
            loader: content(LOADER)?,
            header: content(HEADER)?,
            command_line: content(COMMAND_LINE)?,
            kernel: content(KERNEL)?,
        })
    }

    fn files(kernel: &[u8]) -> Files<Vec<u8>> {
        Files {
            loader: loader(),
            header: vec![7; BLOCK_LEN],
            command_line: b"log=info\0".into(),
            kernel: kernel.into(),
        }
    }

    fn borrowed(files: &Files<Vec<u8>>) -> Files<&[u8]> {
        Files {
            loader: &files.loader,
            header: &files.header,
            command_line: &files.command_line,
            kernel: &files.kernel,
        }
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 300) as u8).collect()
    }

    #[test]
    fn files_of_any_length_are_read_back_and_in_one_piece() {
        // With entries of 12 and of 16 bits.
        for len in [0, 1, 4096, 70_001, 2 << 20, 20 << 20] {
            let files = files(&bytes(len));
            let volume = make(&borrowed(&files)).unwrap();
            assert!(read(&volume).unwrap() == files, "{len} bytes");
            assert_eq!(super::loader(&volume), Some(&*files.loader), "{len} bytes");
            for (path, bytes) in files.by_path() {
                assert!(block_of(&volume, bytes).is_some(), "{path} beside {len} bytes");
            }
        }
    }

    #[test]
    fn volumes_of_any_length_are_aligned_and_have_room() {
        // About where entries of 12 bits give way to those of 16, and clusters to larger ones.
        let near = |clusters: u32| (clusters - 100..clusters + 200).map(|clusters| clusters * ALIGN_BLOCKS);
        for len in (0..2000).step_by(17).chain(near(4085)).chain(near(65_525).step_by(20)) {
            let volume = empty([len, 1, 1, 1], 0).unwrap();
            assert!(first_cluster(&volume).is_multiple_of(ALIGN_BLOCKS), "{len} blocks");
            let file_system = FileSystem::new(Cursor::new(volume.clone()), FsOptions::new()).unwrap();
            let (statistics, cluster_len) = (file_system.stats().unwrap(), file_system.cluster_size());
            let needed = 6 + (len * BLOCK_LEN as u32).div_ceil(cluster_len);
            assert!(statistics.free_clusters() >= needed, "{len} blocks");
            assert!(statistics.total_clusters().abs_diff(4085) > 16, "{len} blocks");
            // FATs, what is rounded, and what is skipped.
            let spare = blocks(volume.len()) - needed * cluster_len / BLOCK_LEN as u32;
            let skipped = if (4000..4300).contains(&(len / ALIGN_BLOCKS)) { 160 * ALIGN_BLOCKS } else { 0 };
            assert!(spare < 40 + len / 400 + skipped, "{len} blocks, {spare} more");
        }
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let volume = |kernel: &[u8]| make(&borrowed(&files(kernel))).unwrap();
        assert!(volume(b"kernel") == volume(b"kernel"));
        // The volume's serial number (Microsoft's FAT specification, boot sector).
        assert_ne!(volume(b"kernel")[39..43], volume(b"Kernel")[39..43]);
    }

    #[test]
    fn other_programs_are_no_loader() {
        check_loader(&loader()).unwrap();
        let spoilt = |at: usize, byte| {
            let mut file = loader();
            file[at] = byte;
            check_loader(&file).unwrap_err()
        };
        assert_eq!(check_loader(b"MZ"), Err(UefiLoaderError::NoPe));
        assert_eq!(spoilt(0x80, b'Q'), UefiLoaderError::NoPe);
        // For another processor, and a boot service driver.
        assert_eq!(spoilt(0x85, 0xaa), UefiLoaderError::OtherProgram);
        assert_eq!(spoilt(0x98 + 68, 11), UefiLoaderError::OtherProgram);
    }
}
