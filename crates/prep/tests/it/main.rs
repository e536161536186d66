//! Body masks and bias fields of analytic images, where the truth is known; N4 and normalisations beside the field's programs;
//! random changes.

mod augment;
mod body;
mod n4;
mod nyul;
