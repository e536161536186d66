//! Body masks of analytic heads and trunks, where the body is known; normalisations beside the field's programs; random
//! changes.

mod augment;
mod body;
mod nyul;
