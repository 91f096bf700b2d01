//! What all tests share.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use system_tests::artifact::Artifacts;
use system_tests::boot::Boot;
use system_tests::lane::{Lane, Lanes};
use system_tests::ovmf::{Ovmf, OvmfMissing};
use system_tests::paging::Paging;
use system_tests::start_stub;
use system_tests::verdict::{Failure, Verdict};

/// What a test comes to.
pub(crate) type Outcome = Result<(), Failure>;

/// A test of a scenario on a lane, with its name.
pub(crate) type OnLane = (&'static str, fn(&Context, Lane) -> Outcome);

/// A test whose lane is fixed, or that needs none, with its name.
pub(crate) type Alone = (&'static str, fn(&Context) -> Outcome);

/// Binaries and hosts, for as long as the process lives.
pub(crate) struct Context {
    pub(crate) artifacts: Artifacts,
    pub(crate) lanes: Lanes,
    pub(crate) ovmf: Result<Ovmf, OvmfMissing>,
    large_guest: Mutex<()>,
}

impl Context {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let artifacts = Artifacts::find()?;
        let lanes = Lanes::detect(&artifacts)?;
        Ok(Self { artifacts, lanes, ovmf: Ovmf::find(), large_guest: Mutex::default() })
    }

    /// A test on a lane, ignored where the lane is missing.
    pub(crate) fn trial(
        &self,
        lane: Lane,
        name: &str,
        test: impl FnOnce() -> Outcome + Send + 'static,
    ) -> Trial {
        let ignored = self.lanes.missing(lane).is_some();
        trial(format!("{}/{name}", lane.name()), test).with_ignored_flag(ignored)
    }

    /// A test of QEMU with KVM's acceleration, ignored where the lane of either is missing.
    pub(crate) fn qemu_kvm_trial(
        &self,
        name: &str,
        test: impl FnOnce() -> Outcome + Send + 'static,
    ) -> Trial {
        let ignored = [Lane::Kvm, Lane::QemuMicrovm].iter().any(|&lane| self.lanes.missing(lane).is_some());
        trial(format!("qemu-kvm/{name}"), test).with_ignored_flag(ignored)
    }

    /// A boot on a lane.
    pub(crate) fn boot(&self, lane: Lane, image: &Path) -> Boot {
        Boot::new(&self.artifacts, lane, image)
    }

    /// Boots `hello` with code before its start (see [`start_stub`]), to its end.
    pub(crate) fn boot_spoilt(&self, lane: Lane, code: &[u8]) -> Result<Verdict, Failure> {
        let image = fs::read(&self.artifacts.hello).map_err(Failure::start)?;
        let image = start_stub::prepend(&image, code);
        let image = image.ok_or_else(|| Failure::new("hello has no room behind its last segment"))?;
        let folder = tempfile::tempdir().map_err(Failure::start)?;
        let path = folder.path().join("hello");
        fs::write(&path, image).map_err(Failure::start)?;
        self.boot(lane, &path).end()
    }

    /// How the machine's KVM translates addresses.
    pub(crate) fn paging(&self) -> Result<Paging, Failure> {
        Paging::of(&self.artifacts).map_err(|error| Failure::new(error.to_string()))
    }

    /// Held while a guest fills GiBs of the host's memory, of which there is enough for one at a time.
    pub(crate) fn large_guest(&self) -> MutexGuard<'_, ()> {
        self.large_guest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `--timing` has printed.
pub(crate) fn timing(verdict: &Verdict) -> Result<Value, Failure> {
    let stderr = verdict.stderr();
    let timing = stderr.lines().find_map(|line| line.strip_prefix("timing: ")).unwrap_or_default();
    serde_json::from_str(timing)
        .map_err(|error| verdict.failure(format!("no timing line can be read: {error}")))
}

/// A test that needs no lane.
pub(crate) fn trial(name: impl Into<String>, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(Failed::from))
}

/// One test for each lane: is it there, if it must be?
pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let present = |lane: Lane| {
        let missing = context.lanes.missing(lane);
        let test = move || match missing {
            None => Ok(()),
            Some(reason) => Err(Failure::new(format!("the lane is required and missing: {reason}"))),
        };
        trial(format!("lanes/{}", lane.name()), test)
            .with_ignored_flag(missing.is_some() && !context.lanes.is_required(lane))
    };
    Lane::ALL.map(present).into()
}
