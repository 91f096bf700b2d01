//! Where a guest's console output goes.
//!
//! Bytes that come one by one are gathered to lines, so that a line costs one system call. A reader that goes away must
//! not end the guest, and one that stops reading must not make the VMM outlive its time limit: a write that a signal
//! interrupts is given up once the machine shall stop. A document for the same reader is [written](write_all) likewise.

use guest_interface::console::LINE_LEN_MAX;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long to wait for a non-blocking output that is full.
const FULL_OUTPUT_PAUSE: Duration = Duration::from_millis(1);

/// The output of both consoles. `W` must not buffer, and must return on a signal.
pub(crate) struct Console<W: Write> {
    output: W,
    line: Vec<u8>,
    stop: Arc<AtomicBool>,
    lost_bytes: u64,
    is_in_line: bool,
}

impl<W: Write> Console<W> {
    /// `stop` says that the machine shall stop.
    pub(crate) fn new(output: W, stop: Arc<AtomicBool>) -> Self {
        Self { output, line: Vec::with_capacity(LINE_LEN_MAX), stop, lost_bytes: 0, is_in_line: false }
    }

    /// Prints one byte, at the end of its line at the latest.
    pub(crate) fn push(&mut self, byte: u8) {
        self.line.push(byte);
        if byte == b'\n' || self.line.len() >= LINE_LEN_MAX {
            self.flush();
        }
    }

    /// Prints `bytes` at once, behind all that was pushed.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        self.flush();
        self.write(bytes);
    }

    /// Prints what was pushed.
    pub(crate) fn flush(&mut self) {
        if !self.line.is_empty() {
            let mut line = std::mem::take(&mut self.line);
            self.write(&line);
            line.clear();
            self.line = line;
        }
    }

    /// Number of bytes that could not be printed.
    pub(crate) const fn lost_bytes(&self) -> u64 {
        self.lost_bytes
    }

    /// Whether what comes next on the output continues a line.
    pub(crate) const fn is_in_line(&self) -> bool {
        self.is_in_line
    }

    #[cfg(test)]
    pub(crate) const fn output(&self) -> &W {
        &self.output
    }

    fn write(&mut self, bytes: &[u8]) {
        let (written, result) = write_all(&mut self.output, bytes, &self.stop);
        if let Some(last) = bytes.get(..written).and_then(<[u8]>::last) {
            self.is_in_line = *last != b'\n';
        }
        if result.is_err() {
            self.lost_bytes = self.lost_bytes.saturating_add((bytes.len() - written) as u64);
        }
    }
}

/// Writes bytes to an output, and waits for one that is full until `stop` is set and, if it blocks, a signal interrupts.
/// Returns how many it has taken, all of them without an error.
///
/// # Errors
/// What the output says, or would say if it were waited for any longer.
pub(crate) fn write_all(output: &mut impl Write, bytes: &[u8], stop: &AtomicBool) -> (usize, io::Result<()>) {
    let mut rest = bytes;
    let result = loop {
        if rest.is_empty() {
            break Ok(());
        }
        match output.write(rest) {
            Ok(0) => break Err(ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if may_retry(error.kind(), stop) => {}
            Err(error) => break Err(error),
        }
    };
    (bytes.len() - rest.len(), result)
}

/// Relaxed suffices: the flag guards no data, and the signals that interrupt a write are sent until it is seen.
fn may_retry(kind: ErrorKind, stop: &AtomicBool) -> bool {
    if kind == ErrorKind::WouldBlock {
        std::thread::sleep(FULL_OUTPUT_PAUSE);
    }
    matches!(kind, ErrorKind::Interrupted | ErrorKind::WouldBlock) && !stop.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes, a few at a time, then answers with `error` for ever.
    struct Limited {
        taken: Vec<u8>,
        room: usize,
        error: ErrorKind,
    }

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = bytes.len().min(3).min(self.room - self.taken.len());
            if len == 0 {
                return Err(self.error.into());
            }
            self.taken.extend(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn console(room: usize, error: ErrorKind, stop: bool) -> Console<Limited> {
        Console::new(Limited { taken: Vec::new(), room, error }, Arc::new(AtomicBool::new(stop)))
    }

    #[test]
    fn bytes_are_printed_by_the_line() {
        let mut console = console(100, ErrorKind::Other, false);
        b"one\ntw".iter().for_each(|byte| console.push(*byte));
        assert_eq!((&*console.output().taken, console.is_in_line()), (&b"one\n"[..], false));
        console.flush();
        assert_eq!((&*console.output().taken, console.is_in_line()), (&b"one\ntw"[..], true));
    }

    #[test]
    fn an_endless_line_is_printed_in_parts() {
        let mut console = console(2 * LINE_LEN_MAX, ErrorKind::Other, false);
        (0..=LINE_LEN_MAX).for_each(|_| console.push(b'x'));
        assert_eq!(console.output().taken.len(), LINE_LEN_MAX);
    }

    #[test]
    fn what_a_closed_output_does_not_take_is_counted_as_lost() {
        let mut console = console(5, ErrorKind::BrokenPipe, false);
        console.print(b"1234567");
        console.print(b"89");
        assert_eq!(console.output().taken, b"12345");
        assert_eq!(console.lost_bytes(), 4);
    }

    #[test]
    fn what_was_not_printed_starts_no_line() {
        let mut console = console(6, ErrorKind::BrokenPipe, false);
        console.print(b"1\n");
        console.print(b"2");
        assert!(console.is_in_line());
        console.print(b"3\n4\n");
        assert_eq!(
            (&*console.output().taken, console.is_in_line()),
            (&b"1\n23\n4"[..], true),
            "cut within a line"
        );
        console.print(b"\n");
        assert!(console.is_in_line(), "the end of that line is lost");

        let mut console = self::console(2, ErrorKind::BrokenPipe, false);
        console.print(b"1\n");
        console.print(b"2");
        assert!(!console.is_in_line());
    }

    #[test]
    fn a_full_output_is_given_up_when_the_machine_shall_stop() {
        for error in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
            let mut console = console(2, error, true);
            console.print(b"1234");
            assert_eq!(console.lost_bytes(), 2, "{error:?}");
        }
    }

    #[test]
    fn a_full_output_is_waited_for_otherwise() {
        struct Slow(u32, Vec<u8>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => Err(ErrorKind::Interrupted.into()),
                    2 => Err(ErrorKind::WouldBlock.into()),
                    _ => self.1.write(bytes),
                }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut console = Console::new(Slow(0, Vec::new()), Arc::new(AtomicBool::new(false)));
        console.print(b"late");
        assert_eq!((console.output().1.as_slice(), console.lost_bytes()), (b"late".as_slice(), 0));
    }
}
