//! From a file to a file.

use crate::error::Error;
use crate::pack::{Summary, pack};
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::Builder;

/// Packs the appliance `input` into the image `output`, which is either replaced as a whole or left as it was. Makes the
/// image's folder if there is none.
///
/// # Errors
/// [`Error`], with no image written.
pub fn pack_file(input: &Path, output: &Path) -> Result<Summary, Error> {
    let appliance = fs::read(input).map_err(|source| Error::Read { path: input.into(), source })?;
    let packed = pack(&appliance).map_err(|source| Error::Image { path: input.into(), source })?;
    replace(output, &packed.image).map_err(|source| Error::Write { path: output.into(), source })?;
    Ok(packed.summary)
}

/// Writes an executable file beside `path` and renames it. What was written is removed again when that fails.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A bare file name has the empty path as its parent.
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file =
        Builder::new().prefix(".image-").permissions(Permissions::from_mode(0o755)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_is_replaced_and_executable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/the/way/image");
        for content in ["old", "new"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o111, 0o111);
        }
        assert_eq!(entries(path.parent().unwrap()), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("folder");
        fs::create_dir(&occupied).unwrap();
        replace(&occupied, b"new").unwrap_err();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        replace(&file.join("image"), b"new").unwrap_err();
        assert_eq!(entries(folder.path()), 2, "only what was there");
    }

    #[test]
    fn errors_name_the_file_and_fit_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let (missing, text) = (folder.path().join("missing"), folder.path().join("text"));
        fs::write(&text, "x".repeat(100)).unwrap();
        for path in [&missing, &text, folder.path()] {
            let error = pack_file(path, &folder.path().join("out")).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()) && !error.contains('\n'), "{error}");
        }
        assert!(!folder.path().join("out").exists());
    }
}
