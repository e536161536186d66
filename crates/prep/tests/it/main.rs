//! Body masks of analytic heads and trunks, where the body is known.

mod body;
