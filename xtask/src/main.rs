//! The project runner.

fn main() {}
