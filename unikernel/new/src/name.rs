//! Which names a crate may have.

use crate::error::Error;
use std::path::Path;

/// Names that cargo takes for no binary, or that stand for another crate in the source of every appliance.
const TAKEN: &[(&str, &str)] = &[
    ("build", "a folder of cargo's"),
    ("deps", "a folder of cargo's"),
    ("examples", "a folder of cargo's"),
    ("incremental", "a folder of cargo's"),
    ("alloc", "Rust's crate of that name"),
    ("guest-interface", "a crate of the kernel's"),
    ("core", "Rust's crate of that name"),
    ("std", "Rust's crate of that name"),
    ("test", "Rust's crate of that name"),
    ("unikernel", "the kernel that it depends on"),
];

/// The name of a crate in the folder `path`.
///
/// # Errors
/// [`Error::NoName`], [`Error::InvalidName`], [`Error::TakenName`].
pub(crate) fn of_folder(path: &Path) -> Result<&str, Error> {
    let name = path.file_name().ok_or_else(|| Error::NoName { path: path.to_owned() })?;
    let invalid = || Error::InvalidName { name: name.to_string_lossy().into_owned() };
    let name = name.to_str().ok_or_else(invalid)?;
    let is_inner = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) || !name.chars().all(is_inner) {
        return Err(invalid());
    }
    match TAKEN.iter().find(|(taken, _)| *taken == name) {
        Some((_, owner)) => Err(Error::TakenName { name: name.to_owned(), owner }),
        None => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn the_last_component_is_the_name() {
        for (path, name) in
            [("/tmp/greeter", "greeter"), ("greeter/", "greeter"), ("../my-2nd_One", "my-2nd_One")]
        {
            assert_eq!(of_folder(Path::new(path)).unwrap(), name);
        }
        for path in ["/", "..", "a/..", ""] {
            assert!(matches!(of_folder(Path::new(path)), Err(Error::NoName { .. })), "{path}");
        }
    }

    #[test]
    fn what_cargo_or_rust_would_not_take_is_refused() {
        for name in ["2nd", "_x", "-x", "two words", "a.b", "größe", "a\nb", "a:b"] {
            assert!(matches!(of_folder(Path::new(name)), Err(Error::InvalidName { .. })), "{name}");
        }
        let not_utf8 = Path::new(OsStr::from_bytes(b"a\xff"));
        assert!(matches!(of_folder(not_utf8), Err(Error::InvalidName { .. })));
        for (name, owner) in TAKEN {
            let error = of_folder(Path::new(name)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(owner), "{error}");
        }
    }
}
