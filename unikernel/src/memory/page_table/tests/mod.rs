//! Tests of the operations, on a simulated machine.
//!
//! | file | about |
//! |---|---|
//! | `operations`, `protect`, `resize`, `ranges`, `counts`, `hosts` | each operation by itself |
//! | `cursors`, `pages`, `flushing` | several under one flush, and what a flush is asked for |
//! | `brought_tables`, `leaf_tables`, `relocation` | tables of the caller's, tables of the last level only, and moving those |
//! | `detach`, `teardown`, `released`, `untyped_model` | nothing is freed that is not owned, nothing twice, and nothing before the flush |
//! | `refusals`, `refused_addresses`, `refused_moves`, `no_memory` | what is refused changes nothing |

mod brought_tables;
mod counts;
mod cursors;
mod detach;
pub(crate) mod fixture;
mod flushing;
mod hosts;
mod leaf_tables;
mod no_memory;
mod operations;
mod pages;
mod protect;
mod ranges;
mod refusals;
mod refused_addresses;
mod refused_moves;
mod released;
mod relocation;
mod resize;
mod teardown;
mod untyped_model;
