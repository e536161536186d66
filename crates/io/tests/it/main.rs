//! Integration tests: files in, files out, damaged files, other tools' files.

mod damage;
mod dicom;
mod goldens;
mod real_files;
mod refusals;
mod transforms;
mod writing;
