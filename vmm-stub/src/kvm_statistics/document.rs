//! The document that `--stats` writes: one JSON object.
//!
//! | field | meaning |
//! |---|---|
//! | `schema` | `freehold.vmm-stub.statistics/1` |
//! | `host` | `kvm` or `kvm-pvm` |
//! | `paging` | how KVM translates addresses, as `vmm-stub doctor` names it |
//! | `mapped` | entries with which KVM maps guest memory at the guest's end, by page size: `4k`, `2m`, `1g` |
//! | `dirty_pages` | with `--dirty-log`: pages of 4 KiB that KVM has mapped for writing, since the guest wrote them, or because it read them when nothing kept KVM from allowing both; not what the VMM wrote |
//! | `vm` | all that KVM counts for the machine, by KVM's names; histograms are arrays |
//! | `vcpus` | the same for each vCPU |
//!
//! What the kernel does not count is left out.

use super::{Statistic, Statistics, Values};
use crate::host::paging::Paging;
use std::fmt::{self, Write};

const SCHEMA: &str = "freehold.vmm-stub.statistics/1";

/// Page sizes in the document, and KVM's counts of them.
const MAPPED: [(&str, &str); 3] = [("4k", "pages_4k"), ("2m", "pages_2m"), ("1g", "pages_1g")];

/// Displays the document.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) host: &'static str,
    pub(crate) paging: Paging,
    pub(crate) statistics: Statistics,
}

impl fmt::Display for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Statistics { vm, vcpus, dirty_pages } = &self.statistics;
        write!(formatter, r#"{{"schema":"{SCHEMA}","host":"{}","paging":"{}""#, self.host, self.paging)?;
        let mapped = MAPPED.iter().filter_map(|(name, counted)| {
            let statistic = vm.iter().find(|statistic| statistic.name == *counted)?;
            Some((*name, &statistic.values))
        });
        formatter.write_str(r#","mapped":"#)?;
        object(formatter, mapped)?;
        if let Some(pages) = dirty_pages {
            write!(formatter, r#","dirty_pages":{pages}"#)?;
        }
        formatter.write_str(r#","vm":"#)?;
        object(formatter, by_name(vm))?;
        formatter.write_str(r#","vcpus":"#)?;
        list(formatter, '[', vcpus, |formatter, vcpu| object(formatter, by_name(vcpu)))?;
        formatter.write_str("]}")
    }
}

fn by_name(statistics: &[Statistic]) -> impl Iterator<Item = (&str, &Values)> {
    statistics.iter().map(|statistic| (statistic.name.as_str(), &statistic.values))
}

/// Names have nothing to escape.
fn object<'s>(
    formatter: &mut fmt::Formatter<'_>,
    members: impl Iterator<Item = (&'s str, &'s Values)>,
) -> fmt::Result {
    list(formatter, '{', members, |formatter, (name, values)| {
        write!(formatter, r#""{name}":"#)?;
        match values {
            Values::Single(value) => write!(formatter, "{value}"),
            Values::Several(values) => {
                list(formatter, '[', values, |formatter, value| write!(formatter, "{value}"))?;
                formatter.write_char(']')
            }
        }
    })?;
    formatter.write_char('}')
}

/// Writes items with commas between them, behind an opening bracket.
fn list<T>(
    formatter: &mut fmt::Formatter<'_>,
    opening: char,
    items: impl IntoIterator<Item = T>,
    write: impl Fn(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    formatter.write_char(opening)?;
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            formatter.write_char(',')?;
        }
        write(formatter, item)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistic(name: &str, values: Values) -> Statistic {
        Statistic { name: name.to_owned(), values }
    }

    fn document(vm: Vec<Statistic>, vcpus: Vec<Vec<Statistic>>, dirty_pages: Option<u64>) -> String {
        let statistics = Statistics { vm, vcpus, dirty_pages };
        Document { host: "kvm", paging: Paging::Npt, statistics }.to_string()
    }

    #[test]
    fn everything_is_there_by_name() {
        let single = |name, value| statistic(name, Values::Single(value));
        let histogram = statistic("wait_hist", Values::Several(vec![1, 0, u64::MAX]));
        let vm = vec![single("pages_2m", 60), single("pages_4k", 7), single("remote_tlb_flush", 0)];
        let vcpus =
            vec![vec![single("exits", 5), histogram], vec![statistic("empty", Values::Several(vec![]))]];
        let expected = concat!(
            r#"{"schema":"freehold.vmm-stub.statistics/1","host":"kvm","paging":"SVM+NPT","mapped":{"4k":7,"2m":60},"dirty_pages":33,"#,
            r#""vm":{"pages_2m":60,"pages_4k":7,"remote_tlb_flush":0},"#,
            r#""vcpus":[{"exits":5,"wait_hist":[1,0,18446744073709551615]},{"empty":[]}]}"#,
        );
        assert_eq!(document(vm, vcpus, Some(33)), expected);
    }

    #[test]
    fn a_kernel_that_counts_nothing_leaves_empty_objects() {
        let expected = r#"{"schema":"freehold.vmm-stub.statistics/1","host":"kvm","paging":"SVM+NPT","mapped":{},"vm":{},"vcpus":[]}"#;
        assert_eq!(document(vec![], vec![], None), expected);
    }
}
