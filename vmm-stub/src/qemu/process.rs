//! Runs QEMU to its end, or ends it.

use crate::error::Error;
use crate::host::qemu;
use crate::qemu::arguments::{Content, Guest, Paths};
use crate::qemu::status::{self, QemuEnd};
use crate::report::Ending;
use crate::result::Published;
use crate::wait::{Signals, wait_until};
use guest_interface::debug_stream::Decoder;
use guest_interface::status::{ExitStatus, VmmStatus};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getppid;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A guest of QEMU that has run.
pub(crate) struct Finished {
    /// Known unless QEMU failed by itself.
    pub(crate) ending: Result<Ending, Error>,
    pub(crate) published: Published,
    /// When QEMU was started, and when it had ended.
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
}

/// Runs a guest to its end, or until the time limit or a signal ends it. QEMU does not outlive this process.
///
/// # Errors
/// If QEMU is not there or can't be started or watched.
pub(crate) fn run(guest: &Guest<'_>, signals: &Signals, limit: Option<Duration>) -> Result<Finished, Error> {
    let program = qemu::find().ok_or(Error::QemuNotFound)?;
    let (mut reader, writer) = io::pipe().map_err(Error::system("watch QEMU"))?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(Error::system("watch QEMU"))?;
    let status = path_of(&writer);
    let mut inherited = vec![OwnedFd::from(writer)];
    let mut hand_over = |file: io::Result<File>| -> Result<String, Error> {
        let file = file.map_err(Error::system("hand the guest to QEMU"))?;
        let path = path_of(&file);
        inherited.push(file.into());
        Ok(path)
    };
    let content = hand_over(match guest.content {
        Content::Disk { file, .. } => file.try_clone(),
        Content::Kernel { bytes, .. } => memory_file(bytes),
    })?;
    let firmware = guest.firmware.map(|bytes| hand_over(memory_file(bytes))).transpose()?;
    let mut command = Command::new(program);
    command.args(guest.arguments(&Paths { status, content, firmware })).stdin(Stdio::null());
    let started = Instant::now();
    let mut child = start(command, inherited).map_err(Error::QemuStart)?;

    let deadline = limit.and_then(|limit| started.checked_add(limit));
    let mut decoder = Decoder::default();
    let watched = watch(&mut child, &mut reader, &mut decoder, signals, deadline);
    if !matches!(watched, Ok(Watched::Ended(..))) {
        // It may have ended in this moment, and can't be killed then.
        let _ = child.kill();
        let _ = child.wait();
    }
    let ended = Instant::now();
    // What was in the pipe when QEMU ended; nobody writes there any more.
    drain(&mut reader, &mut decoder);
    let (status, detail) = match watched? {
        Watched::Ended(end) => {
            let status = status::decode(end, decoder.status());
            let unsure = matches!(status, Ok(ExitStatus::Vmm(VmmStatus::TripleFault)));
            (
                status,
                unsure.then(|| {
                    "or it reset or powered off the machine, which QEMU does not tell apart".to_owned()
                }),
            )
        }
        Watched::Timeout => {
            (Ok(ExitStatus::Vmm(VmmStatus::Timeout)), limit.map(|limit| format!("it was {limit:?}")))
        }
        Watched::Interrupted => (Ok(ExitStatus::Vmm(VmmStatus::Interrupted)), None),
    };
    let ending = status.map(|status| Ending { status, detail, location: None });
    let published = Published { dropped: decoder.dropped_documents(), document: decoder.into_document() };
    Ok(Finished { ending, published, started, ended })
}

/// Where a process that inherits a descriptor opens it again.
fn path_of(descriptor: &impl AsRawFd) -> String {
    format!("/dev/fd/{}", descriptor.as_raw_fd())
}

/// A file without a name, which is gone with the last process that has it open.
fn memory_file(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

/// Starts QEMU with descriptors left open in it, at the same numbers, and closed here.
fn start(mut command: Command, inherited: Vec<OwnedFd>) -> io::Result<Child> {
    let parent = nix::unistd::getpid();
    let prepare = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // A parent that died before that line sends no signal any more.
        if getppid() != parent {
            return Err(nix::Error::ESRCH.into());
        }
        for descriptor in &inherited {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        // This process has signals blocked, which QEMU should end by.
        SigSet::empty().thread_set_mask()?;
        Ok(())
    };
    // SAFETY: between fork and exec only what is safe in a signal handler may be done. The closure makes system calls
    // and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

enum Watched {
    Ended(QemuEnd),
    Timeout,
    Interrupted,
}

/// Waits for the end of QEMU, the deadline, or a signal that asks to stop, and reads the debug console meanwhile, so
/// that a guest which prints there without end is not held up.
fn watch(
    child: &mut Child,
    reader: &mut PipeReader,
    decoder: &mut Decoder,
    signals: &Signals,
    deadline: Option<Instant>,
) -> Result<Watched, Error> {
    let mut open = true;
    loop {
        let events = if open { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut descriptors =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(reader.as_fd(), events)];
        wait_until(&mut descriptors[..if open { 2 } else { 1 }], deadline)?;
        let [signalled, printed] = descriptors.map(|descriptor| descriptor.any().unwrap_or(false));
        // First, because the terminal sends SIGINT to QEMU, too.
        if signalled && signals.ask_to_stop()? {
            return Ok(Watched::Interrupted);
        }
        if printed {
            open = drain(reader, decoder);
        }
        if let Some(status) = child.try_wait().map_err(Error::system("wait for QEMU"))? {
            let end = status.code().map(QemuEnd::Exited);
            return Ok(Watched::Ended(end.unwrap_or(QemuEnd::Killed(status.signal().unwrap_or(0)))));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(Watched::Timeout);
        }
    }
}

/// Reads what there is, at most a pipeful; whether there may be more later.
fn drain(reader: &mut PipeReader, decoder: &mut Decoder) -> bool {
    const PIPE_LEN: usize = 64 << 10;
    let mut buffer = [0; 4096];
    for _ in 0..PIPE_LEN / buffer.len() {
        match reader.read(&mut buffer) {
            Ok(0) => return false,
            Ok(len) => decoder.push(&buffer[..len]),
            Err(error) => {
                return matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            }
        }
    }
    true
}
