//! Names as the symbol table keeps them.

use rustc_demangle::demangle;

/// Longest name in characters. Generic code has names of hundreds, and every one is loaded into each guest.
pub(crate) const NAME_LEN_MAX: usize = 100;

/// Demangles a linker symbol, without its hash. A long name loses its middle: its beginning says which crate or trait it
/// belongs to, its end which function it is.
pub(crate) fn readable(mangled: &str) -> String {
    shorten(format!("{:#}", demangle(mangled)))
}

fn shorten(name: String) -> String {
    let len = name.chars().count();
    if len <= NAME_LEN_MAX {
        return name;
    }
    let kept = NAME_LEN_MAX - 1;
    let start = name.chars().take(kept / 2);
    let end = name.chars().skip(len - (kept - kept / 2));
    start.chain(['…']).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_mangling_schemes_lose_their_hashes() {
        let legacy = "_ZN9unikernel6device4exit11application17hf03255f476d3cf2eE";
        assert_eq!(readable(legacy), "unikernel::device::exit::application");
        assert_eq!(readable("_RNvNtCsg3SjgaGcPXb_4core9panicking9panic_fmt"), "core::panicking::panic_fmt");
        assert_eq!(readable("start_64"), "start_64");
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        let name = format!("first::{}::läst", "ö".repeat(200));
        let short = shorten(name);
        assert_eq!(short.chars().count(), NAME_LEN_MAX);
        assert!(
            short.starts_with("first::ö") && short.ends_with("ö::läst") && short.contains('…'),
            "{short}"
        );
        let fits = "ö".repeat(NAME_LEN_MAX);
        assert_eq!(shorten(fits.clone()), fits);
    }
}
