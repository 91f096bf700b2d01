//! The variables that an application is given.

use crate::error::Error;
use guest_interface::environment::{Variable, is_name};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Reads what `--env` was given: `NAME=value`, or `NAME` for the value that `inherited` knows.
///
/// # Errors
/// [`Error::VariableName`], [`Error::VariableMissing`], [`Error::VariableNotUtf8`], [`Error::VariableWithNul`].
pub(crate) fn variables(
    given: &[OsString],
    inherited: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Variable>, Error> {
    given.iter().map(|given| variable(given, &inherited)).collect()
}

fn variable(given: &OsStr, inherited: impl Fn(&str) -> Option<OsString>) -> Result<Variable, Error> {
    let bytes = given.as_bytes();
    let name_len = bytes.iter().position(|byte| *byte == b'=');
    let name = str::from_utf8(&bytes[..name_len.unwrap_or(bytes.len())]).ok().filter(|name| is_name(name));
    let name = name.ok_or_else(|| Error::VariableName { given: given.to_owned() })?.to_owned();
    let value = match name_len {
        Some(name_len) => OsStr::from_bytes(&bytes[name_len + 1..]).to_owned(),
        None => inherited(&name).ok_or_else(|| Error::VariableMissing { name: name.clone() })?,
    };
    match value.into_string() {
        Ok(value) if value.contains('\0') => Err(Error::VariableWithNul { name }),
        Ok(value) => Ok(Variable { name, value }),
        Err(_) => Err(Error::VariableNotUtf8 { name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[u8]) -> Result<Variable, Error> {
        variable(OsStr::from_bytes(given), |name| match name {
            "HERE" => Some("from here".into()),
            "ODD" => Some(OsStr::from_bytes(b"\xff").into()),
            _ => None,
        })
    }

    #[test]
    fn a_value_is_given_or_inherited() {
        for (given, parameter) in [
            ("A=1", "env=A=1"),
            ("A=b=c d", "env=A=\"b=c d\""),
            ("HERE=there", "env=HERE=there"),
            ("HERE=", "env=HERE=\"\""),
            ("HERE", "env=HERE=\"from here\""),
        ] {
            assert_eq!(read(given.as_bytes()).unwrap().to_string(), parameter);
        }
    }

    #[test]
    fn what_is_no_variable_is_refused_in_a_line() {
        for given in [&b""[..], b"=", b"=1", b"A B=1", b"A\n=1", b"\"A\"=1", b"A\xff=1"] {
            let error = read(given).unwrap_err();
            assert!(
                matches!(error, Error::VariableName { .. }) && !error.to_string().contains('\n'),
                "{error}"
            );
        }
        assert!(matches!(read(b"GONE"), Err(Error::VariableMissing { name }) if name == "GONE"));
        assert!(matches!(read(b"ODD"), Err(Error::VariableNotUtf8 { name }) if name == "ODD"));
        assert!(matches!(read(b"A=\xff"), Err(Error::VariableNotUtf8 { .. })));
        assert!(matches!(read(b"A=\0"), Err(Error::VariableWithNul { .. })));
    }
}
