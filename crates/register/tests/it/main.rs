//! Registration of phantoms whose true transform is known.

mod bspline;
mod linear;
mod phantom;
