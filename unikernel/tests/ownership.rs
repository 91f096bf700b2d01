//! What the types forbid does not compile, and the compiler says so in words that a reader can use.
//!
//! Each file of `compile_fail` shows one thing. `TRYBUILD=overwrite cargo test --test ownership` writes their messages anew;
//! read the difference before you keep it.

#[test]
fn what_owns_nothing_frees_nothing_because_the_rest_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
