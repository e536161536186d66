//! Medical images from files and back: NIfTI, MetaImage and DICOM series.
