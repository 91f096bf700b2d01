//! The process of an emulator, which never outlives this program.

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// Starts an emulator that the kernel kills when the calling thread ends, whatever ends it: the main thread, then.
///
/// # Errors
/// If it can't be started.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    let prepare = || Ok(set_pdeathsig(Signal::SIGKILL)?);
    // SAFETY: between fork and exec only prctl is called, which is a system call and neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::thread;

    #[test]
    fn it_is_killed_with_who_started_it() {
        let starter = thread::spawn(|| spawn(Command::new("sleep").arg("60")).unwrap());
        let mut child = starter.join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    }
}
