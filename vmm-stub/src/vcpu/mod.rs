//! A vCPU: what it starts with ([`registers`], [`cpuid`]), and the loop that runs it ([`run`]), on a
//! [thread](crate::stoppable_thread) of its own, and notices when it does nothing any more ([`halt`]).

pub(crate) mod cpuid;
pub(crate) mod halt;
pub(crate) mod registers;
pub(crate) mod run;
