//! Runs of memory-stress to compare: in a guest, and as a process of the host. Each gives the result as JSON.

use crate::artifact::Artifacts;
use crate::lane::Lane;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The program built as a process of the host.
///
/// # Errors
/// When it is not there, with the recipe that builds it.
pub fn process_binary(artifacts: &Artifacts, recipe: &str) -> Result<PathBuf> {
    let path = artifacts.vmm_stub.with_file_name("memory-stress");
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: run `{recipe}`", path.display()).into())
    }
}

/// Runs it in a guest of a lane with so much memory; `folder` is for the result.
///
/// # Errors
/// When it fails, or hands over no result.
pub fn in_guest(
    artifacts: &Artifacts,
    lane: Lane,
    memory: &str,
    folder: &Path,
    arguments: &[&str],
) -> Result<String> {
    let result = folder.join("result.json");
    let mut command = Command::new(&artifacts.vmm_stub);
    command.arg("run").arg(&artifacts.memory_stress).args(lane.options());
    command.args(["--memory", memory, "--timeout", "300s", "--result"]).arg(&result);
    command.arg("--").args(arguments);
    succeed(&mut command)?;
    Ok(fs::read_to_string(&result)?)
}

/// Runs it as a process.
///
/// # Errors
/// When it fails, or prints no result.
pub fn as_process(binary: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(binary);
    command.args(arguments).arg("--json");
    // Huge pages by madvise, as vmm-stub asks for them.
    command.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
    let output = succeed(&mut command)?;
    let line = output.lines().find(|line| line.starts_with('{'));
    Ok(line.ok_or("the process printed no result")?.to_owned())
}

/// Runs a command that must succeed, and returns what it printed.
///
/// # Errors
/// When it does not, with what it complained of.
pub fn succeed(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} ended with {}: {errors}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
