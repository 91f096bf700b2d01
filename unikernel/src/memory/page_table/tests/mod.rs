//! Tests of the operations, on a simulated machine.
//!
//! | file | about |
//! |---|---|
//! | `operations`, `protect`, `resize`, `ranges`, `hosts` | each operation by itself |
//! | `cursors`, `pages`, `flushing` | several under one flush, and what a flush is asked for |
//! | `detach`, `teardown`, `untyped_model` | nothing is freed that is not owned, nothing twice, and nothing before the flush |
//! | `refusals`, `refused_addresses`, `no_memory` | what is refused changes nothing |

mod cursors;
mod detach;
pub(crate) mod fixture;
mod flushing;
mod hosts;
mod no_memory;
mod operations;
mod pages;
mod protect;
mod ranges;
mod refusals;
mod refused_addresses;
mod resize;
mod teardown;
mod untyped_model;
