//! Lanes: the hosts that guests run on. A machine may lack some, which is said, and may be told that it must not.

use crate::artifact::Artifacts;
use crate::process::Running;
use guest_interface::status::VmmStatus;
use std::env;
use std::fmt;
use std::process::Command;
use std::time::Duration;
use thiserror::Error;

/// Names the lanes that must be there, separated by commas. `qemu` stands for all lanes of QEMU.
pub const REQUIRED_VARIABLE: &str = "FREEHOLD_REQUIRE_LANES";

const QEMU: &str = "qemu-system-x86_64";
const QEMU_IMG: &str = "qemu-img";

/// A host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// `vmm-stub` on the machine's own KVM.
    Kvm,
    /// QEMU's microvm in software.
    QemuMicrovm,
    /// QEMU's q35 in software.
    QemuQ35,
    /// QEMU's pc in software.
    QemuPc,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 4] = [Self::Kvm, Self::QemuMicrovm, Self::QemuQ35, Self::QemuPc];

    /// The lane's name in test names and in [`REQUIRED_VARIABLE`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::QemuMicrovm => "qemu-microvm",
            Self::QemuQ35 => "qemu-q35",
            Self::QemuPc => "qemu-pc",
        }
    }

    /// Whether guests run in software: slowly, and in a process of QEMU's own.
    #[must_use]
    pub const fn is_qemu(self) -> bool {
        !matches!(self, Self::Kvm)
    }

    /// The options that make `vmm-stub run` use this host.
    #[must_use]
    pub const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["--host", "kvm"],
            Self::QemuMicrovm => &["--host", "qemu", "--machine", "microvm"],
            Self::QemuQ35 => &["--host", "qemu", "--machine", "q35"],
            Self::QemuPc => &["--host", "qemu", "--machine", "pc"],
        }
    }
}

/// A name in [`REQUIRED_VARIABLE`] that is no lane's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{REQUIRED_VARIABLE} names '{name}', which is none of kvm, qemu, qemu-microvm, qemu-q35, qemu-pc")]
pub struct UnknownLane {
    /// The name.
    pub name: String,
}

/// Which lanes this machine has, and which it must have.
#[derive(Clone, Debug)]
pub struct Lanes {
    missing: Vec<(Lane, String)>,
    required: Vec<Lane>,
    qemu_img_missing: Option<String>,
}

impl Lanes {
    /// Looks for all lanes.
    ///
    /// # Errors
    /// [`UnknownLane`] if the environment requires something unknown.
    pub fn detect(artifacts: &Artifacts) -> Result<Self, UnknownLane> {
        let required = required(&env::var(REQUIRED_VARIABLE).unwrap_or_default())?;
        let (kvm, qemu) = (kvm_missing(artifacts), program_missing(QEMU, "qemu-system-x86"));
        let qemu_img_missing = program_missing(QEMU_IMG, "qemu-utils");
        let missing = Lane::ALL.into_iter().filter_map(|lane| {
            let reason = if lane.is_qemu() { &qemu } else { &kvm };
            reason.clone().map(|reason| (lane, reason))
        });
        Ok(Self { missing: missing.collect(), required, qemu_img_missing })
    }

    /// Why a lane is missing, if it is.
    #[must_use]
    pub fn missing(&self, lane: Lane) -> Option<&str> {
        self.missing.iter().find(|(missing, _)| *missing == lane).map(|(_, reason)| reason.as_str())
    }

    /// Whether tests on one of QEMU's lanes that need `qemu-img` have to be left out. Where the lane is required, they fail instead.
    #[must_use]
    pub fn lacks_qemu_img(&self, lane: Lane) -> bool {
        self.qemu_img_missing.is_some() && !self.is_required(lane)
    }

    /// Whether the environment demands a lane.
    #[must_use]
    pub fn is_required(&self, lane: Lane) -> bool {
        self.required.contains(&lane)
    }

    /// The lanes there are.
    pub fn present(&self) -> impl Iterator<Item = Lane> {
        Lane::ALL.into_iter().filter(|lane| self.missing(*lane).is_none())
    }
}

impl fmt::Display for Lanes {
    /// One line for each reason that something is missing for; nothing if all is there.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for lanes in self.missing.chunk_by(|(_, first), (_, second)| first == second) {
            let names: Vec<&str> = lanes.iter().map(|(lane, _)| lane.name()).collect();
            let (noun, predicate) = match names.len() {
                1 => ("lane", "is missing, its"),
                _ => ("lanes", "are missing, their"),
            };
            writeln!(formatter, "{noun} {} {predicate} tests are ignored: {}", names.join(", "), lanes[0].1)?;
        }
        if let Some(reason) = &self.qemu_img_missing {
            writeln!(
                formatter,
                "tests of qcow2 and vmdk images are ignored on lanes not required: {reason}"
            )?;
        }
        Ok(())
    }
}

fn required(list: &str) -> Result<Vec<Lane>, UnknownLane> {
    let mut lanes = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let named = |lane: &Lane| lane.name() == name || (name == "qemu" && lane.is_qemu());
        let before = lanes.len();
        lanes.extend(Lane::ALL.into_iter().filter(named));
        if lanes.len() == before {
            return Err(UnknownLane { name: name.to_owned() });
        }
    }
    Ok(lanes)
}

/// Asks `vmm-stub doctor`.
fn kvm_missing(artifacts: &Artifacts) -> Option<String> {
    let mut command = Command::new(&artifacts.vmm_stub);
    command.arg("doctor");
    let ended = match Running::start(&mut command) {
        Ok(running) => running.end(Duration::from_secs(20)),
        Err(error) => return Some(format!("`vmm-stub doctor` can't be started: {error}")),
    };
    if ended.status == Some(0) {
        return None;
    }
    let said = String::from_utf8_lossy(&ended.stdout);
    let said: Vec<&str> = said.lines().map(str::trim).take_while(|line| !line.starts_with("QEMU")).collect();
    let said = said.join(" ");
    if ended.status == Some(i32::from(VmmStatus::HostUnable.code())) {
        Some(format!("`vmm-stub doctor` says {said}"))
    } else {
        Some(format!("`vmm-stub doctor` failed with {:?}: {said}", ended.status))
    }
}

fn program_missing(name: &str, package: &str) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join(name).is_file());
    (!found).then(|| format!("{name} is not in PATH; install it with `apt-get install {package}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_required_by_name_or_all_of_qemu() {
        assert_eq!(required(""), Ok(vec![]));
        assert_eq!(required("kvm, qemu-pc"), Ok(vec![Lane::Kvm, Lane::QemuPc]));
        assert_eq!(required("qemu"), Ok(vec![Lane::QemuMicrovm, Lane::QemuQ35, Lane::QemuPc]));
        assert_eq!(required("kvm,xen"), Err(UnknownLane { name: "xen".to_owned() }));
    }

    #[test]
    fn missing_lanes_are_told_in_a_line_a_reason() {
        let no_qemu = |lane| (lane, "no QEMU".to_owned());
        let missing =
            vec![(Lane::Kvm, "no device".to_owned()), no_qemu(Lane::QemuMicrovm), no_qemu(Lane::QemuQ35)];
        let qemu_img_missing = Some("no qemu-img".to_owned());
        let lanes = Lanes { missing, required: vec![Lane::Kvm], qemu_img_missing };
        let said = "lane kvm is missing, its tests are ignored: no device\n\
                    lanes qemu-microvm, qemu-q35 are missing, their tests are ignored: no QEMU\n\
                    tests of qcow2 and vmdk images are ignored on lanes not required: no qemu-img\n";
        assert_eq!(lanes.to_string(), said);
        assert_eq!(lanes.missing(Lane::Kvm), Some("no device"));
        assert_eq!(lanes.present().collect::<Vec<_>>(), [Lane::QemuPc]);
        assert!(lanes.lacks_qemu_img(Lane::QemuPc) && !lanes.lacks_qemu_img(Lane::Kvm));
        assert!(lanes.is_required(Lane::Kvm) && !lanes.is_required(Lane::QemuPc));
    }
}
