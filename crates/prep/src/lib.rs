//! Intensity and field-of-view preparation of MR and CT: normalisation and body masks.
