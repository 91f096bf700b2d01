//! The files of a crate.

use crate::error::Error;
use std::fmt::Write;
use std::path::Path;

const MANIFEST: &str = include_str!("../template/manifest.toml");
const SETTINGS: &str = include_str!("../template/settings.toml");
const SOURCE: &str = include_str!("../template/main.rs");

/// Path and content of each file of the crate `name`, on the kernel of the checkout `freehold`.
///
/// # Errors
/// [`Error::NotUtf8`] for the path of the checkout.
pub(crate) fn files(name: &str, freehold: &Path) -> Result<[(&'static str, String); 3], Error> {
    let manifest = MANIFEST.replace("@NAME@", name);
    Ok([
        ("Cargo.toml", manifest.replace("@UNIKERNEL@", &toml_string(&freehold.join("unikernel"))?)),
        (".cargo/config.toml", SETTINGS.replace("@JUSTFILE@", &toml_string(&freehold.join("justfile"))?)),
        ("src/main.rs", SOURCE.to_owned()),
    ])
}

/// A path as a basic string of TOML, in quotes.
fn toml_string(path: &Path) -> Result<String, Error> {
    let text = path.to_str().ok_or_else(|| Error::NotUtf8 { path: path.to_owned() })?;
    let mut quoted = String::from('"');
    for character in text.chars() {
        // Writing to a String can't fail.
        let _ = match character {
            '"' | '\\' => write!(quoted, "\\{character}"),
            control if control.is_control() => write!(quoted, "\\u{:04x}", u32::from(control)),
            plain => write!(quoted, "{plain}"),
        };
    }
    quoted.push('"');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_named_wherever_it_lies() {
        let [(_, manifest), (_, settings), _] = files("greeter", Path::new("/a \"b\"\\\nü")).unwrap();
        assert!(manifest.contains(r#"{ path = "/a \"b\"\\\u000aü/unikernel" }"#), "{manifest}");
        assert!(settings.contains(r#""--justfile", "/a \"b\"\\\u000aü/justfile""#), "{settings}");
        assert!(
            manifest.contains("name = \"greeter\"") && !manifest.contains('@') && !settings.contains('@')
        );
    }

    /// What guests here are compiled with, and a new appliance is.
    #[test]
    fn settings_and_profile_are_those_of_the_guests_here() {
        let ours = include_str!("../../../.cargo/config.toml");
        let flags = |text: &str| {
            let words = text.split('"').filter(|word| word.starts_with("-C"));
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(flags(ours).len(), 3);
        assert_eq!(flags(SETTINGS), flags(ours));
        let workspace = include_str!("../../../Cargo.toml");
        for setting in ["lto = \"fat\"", "codegen-units = 1", "package.unikernel]\nopt-level = \"s\""] {
            assert!(workspace.contains(setting) && MANIFEST.contains(setting), "{setting}");
        }
    }
}
