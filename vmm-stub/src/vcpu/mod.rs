//! A vCPU: what it starts with ([`registers`], [`cpuid`]), the loop that runs it ([`run`]) and notices when it does nothing
//! any more ([`halt`]), and the thread it runs on, which can be stopped at any moment ([`thread`]).

pub(crate) mod cpuid;
pub(crate) mod halt;
pub(crate) mod registers;
pub(crate) mod run;
pub(crate) mod thread;
