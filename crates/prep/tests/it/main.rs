//! Body masks of analytic heads and trunks, where the body is known; normalisations beside the field's programs.

mod body;
mod nyul;
