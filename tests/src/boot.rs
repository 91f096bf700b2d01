//! One boot of a guest by `vmm-stub`.

use crate::artifact::Artifacts;
use crate::lane::Lane;
use crate::process::Running;
use crate::verdict::{Failure, Verdict};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How much longer than its own time limit a VMM may take before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// What to boot, where, and how.
#[derive(Clone, Debug)]
pub struct Boot {
    vmm_stub: PathBuf,
    lane: Lane,
    image: PathBuf,
    memory: OsString,
    timeout: Duration,
    options: Vec<OsString>,
    arguments: Vec<OsString>,
}

impl Boot {
    /// A boot with 64 MiB of RAM, a time limit of 30 seconds, and an audit of what the application leaves behind.
    #[must_use]
    pub fn new(artifacts: &Artifacts, lane: Lane, image: &Path) -> Self {
        Self {
            vmm_stub: artifacts.vmm_stub.clone(),
            lane,
            image: image.to_owned(),
            memory: "64M".into(),
            timeout: Duration::from_secs(30),
            options: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// With this much RAM, as `--memory` takes it.
    #[must_use]
    pub fn memory(mut self, memory: impl Into<OsString>) -> Self {
        self.memory = memory.into();
        self
    }

    /// With this time limit, by whole milliseconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With further options of `vmm-stub run`.
    #[must_use]
    pub fn options<I: Into<OsString>>(mut self, options: impl IntoIterator<Item = I>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// With arguments for the application.
    #[must_use]
    pub fn arguments<I: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = I>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// When to give up on the VMM itself.
    #[must_use]
    pub fn hard_limit(&self) -> Duration {
        self.timeout + GRACE
    }

    /// The command line.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.vmm_stub);
        command.arg("run").arg(&self.image).args(self.lane.options());
        command.arg("--memory").arg(&self.memory);
        command.arg("--timeout").arg(format!("{}ms", self.timeout.as_millis()));
        command.arg("--audit");
        command.args(&self.options);
        if !self.arguments.is_empty() {
            command.arg("--").args(&self.arguments);
        }
        command
    }

    /// Starts the guest.
    ///
    /// # Errors
    /// If the VMM can't be started.
    pub fn start(&self) -> Result<Running, Failure> {
        Running::start(&mut self.command()).map_err(Failure::start)
    }

    /// Runs the guest to its end.
    ///
    /// # Errors
    /// If the VMM can't be started, or ends in a way that no VMM should (see [`Verdict::new`]).
    pub fn end(&self) -> Result<Verdict, Failure> {
        Verdict::new(&self.command(), self.start()?.end(self.hard_limit()))
    }
}
