//! Paired MR and CT digital phantoms of head and pelvis with exactly known truth.
