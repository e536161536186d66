//! The `sct` command.

fn main() {}
