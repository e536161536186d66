//! Body masks and bias fields of analytic images, where the truth is known, and N4 as ITK computes it.

mod body;
mod n4;
