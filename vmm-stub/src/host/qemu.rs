//! Finds QEMU.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The emulator's name.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// The first executable file of that name on the search path.
pub(crate) fn find() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(PROGRAM))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// What a QEMU says its version is, or `None` if it does not run.
pub(crate) fn version(program: &Path) -> Option<String> {
    let output =
        Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// The version in `QEMU emulator version 7.2.22 (Debian …)`.
fn parse_version(text: &str) -> Option<String> {
    let (_, rest) = text.lines().next()?.split_once(" version ")?;
    Some(rest.split_whitespace().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_first_line() {
        let text = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) version 2003\n";
        assert_eq!(parse_version(text).unwrap(), "7.2.22");
        for text in ["", "\n", "QEMU emulator", "QEMU emulator version "] {
            assert_eq!(parse_version(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_executable_files_are_programs() {
        assert!(is_executable(Path::new("/bin/sh")));
        assert!(!is_executable(Path::new("/etc/passwd")));
        assert!(!is_executable(Path::new("/bin")));
    }
}
