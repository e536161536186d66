//! Real files, where a developer has them: each is read, or refused with a clear error.

use std::error::Error;
use std::path::{Path, PathBuf};

use synthct_io::{
    ImageFormat, ImageInfo, IoError, MissingGeometry, ReadOptions, describe, detect_format, read_image,
};

use crate::test_data;

const SETS: [&str; 4] = ["nifti-edge", "pair-mr-ct-pork", "head-mr-rire001", "head-colin27"];

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

#[test]
#[expect(clippy::print_stderr, reason = "what was read of real files must be seen")]
fn every_file_is_read_or_clearly_refused() -> Result<(), Box<dyn Error>> {
    let Some(data) = test_data("every_file_is_read_or_clearly_refused") else { return Ok(()) };
    for set in SETS {
        let folder = data.join(set);
        let mut files = Vec::new();
        files_below(&folder, &mut files).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut n_read = 0;
        for path in &files {
            match read_image(path, &ReadOptions::default()) {
                Ok(image) => {
                    n_read += 1;
                    assert!(
                        image.volume.as_slice().iter().any(|value| value.is_finite()),
                        "{}",
                        path.display()
                    );
                }
                Err(IoError::MissingGeometry { .. }) => {
                    let wish = ReadOptions {
                        missing_geometry: MissingGeometry::FromPixdim,
                        ..ReadOptions::default()
                    };
                    read_image(path, &wish)?;
                }
                Err(error) => {
                    let name = path.display().to_string();
                    assert!(error.to_string().contains(&name), "`{error}` does not name {name}");
                    // What is refused is an image of another kind, or no image at all.
                    let is_image = matches!(
                        detect_format(path),
                        Ok(ImageFormat::Nifti1 | ImageFormat::Nifti2 | ImageFormat::MetaImage)
                    );
                    let is_clear = matches!(
                        error,
                        IoError::NotThreeDimensional { .. }
                            | IoError::Unsupported { .. }
                            | IoError::Truncated { .. }
                            | IoError::Sheared { .. }
                            | IoError::MissingAttribute { .. }
                    );
                    assert!(!is_image || is_clear, "{error}");
                    eprintln!("refused: {error}");
                }
            }
        }
        assert!(n_read > 0, "nothing of {} could be read", folder.display());
        eprintln!("{set}: {n_read} of {} files read", files.len());
    }
    Ok(())
}

#[test]
fn a_folder_of_dicom_is_described_as_it_is_read() -> Result<(), Box<dyn Error>> {
    let Some(data) = test_data("a_folder_of_dicom_is_described_as_it_is_read") else { return Ok(()) };
    let folder = data.join("dicom-ct-philips-phantom");
    let described = describe(&folder, &ReadOptions::default())?;
    let image = read_image(&folder, &ReadOptions::default())?;
    assert_eq!(described.format, ImageFormat::Dicom);
    assert_eq!(described.size_ijk, [512, 512, 28]);
    assert_eq!(described.grid.as_ref(), Some(image.volume.grid()));
    let modality = |info: &ImageInfo| info.series.as_ref().map(|series| series.modality.clone());
    assert_eq!(modality(&described), Some("CT".to_owned()));
    assert_eq!(modality(&image.info), Some("CT".to_owned()));
    Ok(())
}
