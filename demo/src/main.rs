//! The demo as a program.
fn main() {}
