//! What a guest publishes, and what becomes of it with `--result`; a guest that publishes nothing changes nothing.

use crate::document_file::DocumentFile;
use crate::error::Error;

/// What a guest has published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// The last document that came whole.
    pub(crate) document: Option<Vec<u8>>,
    /// Documents that were too long or not in RAM.
    pub(crate) dropped: u64,
}

impl Published {
    /// Writes the document to a file.
    ///
    /// # Errors
    /// [`Error::NoResult`], [`Error::DocumentLost`]; the file is then as it was.
    pub(crate) fn write(&self, file: &DocumentFile) -> Result<(), Error> {
        let no_result = || Error::NoResult { path: file.given().to_owned() };
        file.write(self.document.as_ref().ok_or_else(no_result)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document_file::DocumentKind;
    use crate::files_in_use::FilesInUse;
    use guest_interface::status::VmmStatus;
    use std::fs;

    #[test]
    fn without_a_document_the_file_stays_as_it_was() {
        let path = std::env::temp_dir().join(format!("vmm-stub-stays-{}", std::process::id()));
        fs::write(&path, "before").unwrap();
        let file = DocumentFile::prepare(DocumentKind::Result, &path, &FilesInUse::default()).unwrap();
        let error = Published { document: None, dropped: 2 }.write(&file).unwrap_err();
        assert_eq!(error.status(), VmmStatus::VmmError);
        assert!(error.to_string().contains("vmm-stub-stays"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        Published { document: Some(b"after".to_vec()), dropped: 2 }.write(&file).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        fs::remove_file(path).unwrap();
    }
}
