//! Which crate may use which: the table that `docs/ARCHITECTURE.md` shows and `cargo xtask tidy` holds the code to.

/// One crate's place.
pub(crate) struct Crate {
    /// Arrows point from a higher layer to a lower one.
    pub(crate) layer: u8,
    /// The folder below `crates/`.
    pub(crate) folder: &'static str,
    /// The package's name.
    pub(crate) package: &'static str,
    /// The workspace crates it may depend on, by folder.
    pub(crate) may_use: &'static [&'static str],
}

/// Every published crate, lowest layer first.
pub(crate) const CRATES: &[Crate] = &[
    Crate { layer: 0, folder: "image", package: "synthct-image", may_use: &[] },
    Crate { layer: 1, folder: "prep", package: "synthct-prep", may_use: &["image"] },
    Crate { layer: 1, folder: "register", package: "synthct-register", may_use: &["image"] },
    Crate { layer: 1, folder: "rt", package: "synthct-rt", may_use: &["image"] },
    Crate { layer: 1, folder: "loss", package: "synthct-loss", may_use: &[] },
    Crate { layer: 1, folder: "nn", package: "synthct-nn", may_use: &[] },
    Crate { layer: 2, folder: "io", package: "synthct-io", may_use: &["image", "rt"] },
    Crate { layer: 2, folder: "dose", package: "synthct-dose", may_use: &["image", "rt"] },
    Crate { layer: 2, folder: "eval", package: "synthct-eval", may_use: &["image"] },
    Crate { layer: 2, folder: "phantom", package: "synthct-phantom", may_use: &["image"] },
    Crate { layer: 3, folder: "model", package: "synthct-model", may_use: &["image", "prep", "nn", "loss"] },
    Crate { layer: 3, folder: "report", package: "synthct-report", may_use: &["image", "eval"] },
    Crate {
        layer: 4,
        folder: "sct",
        package: "synthct",
        may_use: &[
            "image", "prep", "register", "rt", "loss", "nn", "io", "dose", "eval", "phantom", "model",
            "report",
        ],
    },
    Crate { layer: 5, folder: "cli", package: "synthct-cli", may_use: &["sct"] },
];

/// The crates that may name candle; the facade re-exports its devices.
pub(crate) const KNOW_CANDLE: &[&str] = &["loss", "nn", "model", "sct"];

/// The crates that may name libraries of file formats.
pub(crate) const KNOW_FORMATS: &[&str] = &["io"];

/// Libraries of image file formats, by the beginning of their name.
pub(crate) const FORMAT_LIBRARIES: &[&str] = &["dicom-", "nifti", "flate2"];

/// Libraries that appear in our signatures, of which the lock file may hold one version only.
pub(crate) const ONE_VERSION: &[&str] = &["ndarray", "candle-core"];
