//! Transparent huge pages: whether the host gives them to a process that asks for them by advice (the kernel's
//! `Documentation/admin-guide/mm/transhuge.rst`).

use std::fs;

/// The setting for all sizes.
const ALL_SIZES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
/// The setting for 2 MiB, which kernels from 6.8 on have.
const ONE_SIZE: &str = "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled";
/// The process's own state (proc_pid_status(5)), which it has inherited.
const PROCESS: &str = "/proc/self/status";

/// Why there are no transparent huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ThpUnable {
    /// The kernel was built without.
    #[error(
        "the host's kernel has no transparent huge pages; use one with CONFIG_TRANSPARENT_HUGEPAGE, or leave --backing out"
    )]
    NotInKernel,
    /// A setting is `never`.
    #[error(
        "transparent huge pages are off on the host; turn them on with `echo madvise > {setting}` as root, or leave --backing out"
    )]
    Never { setting: &'static str },
    /// prctl(2), `PR_SET_THP_DISABLE`.
    #[error(
        "transparent huge pages are off for this process, by prctl PR_SET_THP_DISABLE of what has started it; \
         start it otherwise, or leave --backing out"
    )]
    NotForProcess,
}

/// Refuses a host that is known to give no huge page. What can't be read is not known.
///
/// # Errors
/// [`ThpUnable`], except for a kernel without them, which shows when the advice is given.
pub(crate) fn check() -> Result<(), ThpUnable> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    judge(&read(ALL_SIZES), &read(ONE_SIZE), &read(PROCESS))
}

fn judge(all_sizes: &str, one_size: &str, process: &str) -> Result<(), ThpUnable> {
    let (setting, chosen) = match chosen(one_size) {
        None | Some("inherit") => (ALL_SIZES, chosen(all_sizes)),
        own => (ONE_SIZE, own),
    };
    if chosen == Some("never") {
        return Err(ThpUnable::Never { setting });
    }
    let state = process.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    if state.is_some_and(|state| state.trim() == "0") {
        return Err(ThpUnable::NotForProcess);
    }
    Ok(())
}

/// The word in brackets of a setting: `always [madvise] never`.
fn chosen(setting: &str) -> Option<&str> {
    Some(setting.split_once('[')?.1.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADVISE: &str = "always [madvise] never\n";
    const NEVER: &str = "always madvise [never]\n";
    const INHERIT: &str = "always [inherit] madvise never\n";
    const ON: &str = "Name:\tx\nTHP_enabled:\t1\n";

    #[test]
    fn a_setting_that_gives_none_is_named() {
        let never = |setting| Err(ThpUnable::Never { setting });
        assert_eq!(judge(NEVER, "", ON), never(ALL_SIZES));
        assert_eq!(judge(NEVER, INHERIT, ON), never(ALL_SIZES));
        assert_eq!(judge(MADVISE, "always inherit madvise [never]\n", ON), never(ONE_SIZE));
        assert_eq!(judge("[always] madvise never\n", NEVER, ON), never(ONE_SIZE));
        assert!(ThpUnable::Never { setting: ONE_SIZE }.to_string().contains(ONE_SIZE));
    }

    #[test]
    fn a_process_can_have_none_whatever_the_setting_is() {
        assert_eq!(judge(MADVISE, INHERIT, "THP_enabled:\t0\n"), Err(ThpUnable::NotForProcess));
    }

    #[test]
    fn all_else_may_give_some() {
        for (all_sizes, one_size) in [
            (MADVISE, INHERIT),
            (MADVISE, ""),
            ("[always] madvise never\n", INHERIT),
            (NEVER, "always inherit [madvise] never\n"),
            ("", ""),
        ] {
            assert_eq!(judge(all_sizes, one_size, ON), Ok(()), "{all_sizes}{one_size}");
            assert_eq!(judge(all_sizes, one_size, ""), Ok(()), "{all_sizes}{one_size}");
        }
    }
}
