//! Log lines: time since boot, level, target, message.

use crate::cpu::clock;
use crate::device::console;
use core::fmt;
use log::{LevelFilter, Log, Metadata, Record};

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let stamp = Stamp(clock::since_boot());
            console::print(format_args!(
                "{stamp} {:<5} {}: {}\n",
                record.level(),
                record.target(),
                record.args()
            ));
        }
    }

    fn flush(&self) {
        console::flush();
    }
}

/// Time since boot as log lines show it: seconds, to the microsecond.
struct Stamp(core::time::Duration);

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{:>5}.{:06}]", self.0.as_secs(), self.0.subsec_micros())
    }
}

/// Sends log records of at most `level` to the console.
pub(crate) fn init(level: LevelFilter) {
    static LOGGER: Logger = Logger;
    // Fails only when there is a logger already, which then is this one.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

#[cfg(test)]
mod tests {
    use super::Stamp;
    use alloc::string::ToString;
    use core::time::Duration;

    #[test]
    fn stamps_line_up_for_a_day() {
        assert_eq!(Stamp(Duration::from_nanos(1_234_567)).to_string(), "[    0.001234]");
        assert_eq!(Stamp(Duration::from_secs(86_399)).to_string(), "[86399.000000]");
    }
}
