//! Valid files that are refused, each with its own error, and files that are accepted although odd.

use std::error::Error;
use std::path::{Path, PathBuf};

use synthct_image::PointLps;
use synthct_io::{
    IoError, MissingGeometry, ReadOptions, describe, read_image, read_volume, read_volume_frame,
    read_volume_with,
};

use crate::goldens::folder;
use crate::with_causes;

const FROM_PIXDIM: ReadOptions = ReadOptions {
    missing_geometry: MissingGeometry::FromPixdim,
    frame: None,
    series_uid: None,
    fill_gaps: false,
    untilt: false,
    philips_precise: false,
};

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Result<Self, std::io::Error> {
        tempfile::tempdir().map(Self)
    }

    /// A copy of a golden file with some bytes overwritten.
    fn patched(&self, golden: &str, patches: &[(usize, &[u8])]) -> Result<PathBuf, Box<dyn Error>> {
        let mut bytes = std::fs::read(folder().join(golden))?;
        for (offset, patch) in patches {
            bytes[*offset..*offset + patch.len()].copy_from_slice(patch);
        }
        self.write(golden, &bytes)
    }

    /// A copy of a golden MetaImage with one line replaced.
    fn edited(&self, golden: &str, from: &str, to: &str) -> Result<PathBuf, Box<dyn Error>> {
        let bytes = std::fs::read(folder().join(golden))?;
        let start = bytes.windows(from.len()).position(|window| window == from.as_bytes());
        let start = start.ok_or_else(|| format!("{golden} has no `{from}`"))?;
        self.write(golden, &[&bytes[..start], to.as_bytes(), &bytes[start + from.len()..]].concat())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Box<dyn Error>> {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }
}

#[track_caller]
fn check_error(path: &Path, expected: &str) {
    match read_volume(path) {
        Ok(_) => panic!("{} was read, expected an error with `{expected}`", path.display()),
        Err(error) => {
            let text = with_causes(&error);
            assert!(text.contains(expected), "`{text}` does not contain `{expected}`");
        }
    }
}

#[test]
fn nifti_without_orientation_needs_an_explicit_wish() -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    let path = scratch.patched("nifti1_u1.nii", &[(252, &[0; 4])])?;
    check_error(&path, "`sform_code` is 0 and `qform_code` is 0");
    let grid = read_volume_with(&path, &FROM_PIXDIM)?.grid().clone();
    let last = grid.corner_points()[7];
    // Right, anterior, superior are -x, -y, z.
    assert!(last.distance_mm(PointLps::new(-2.0 * 0.7, -3.0 * 1.3, 4.0 * 2.9)) < 1e-5, "{last:?}");
    assert!(describe(&path, &ReadOptions::default())?.grid.is_none());
    Ok(())
}

#[test]
fn nifti_types_that_are_no_plain_numbers_are_named() -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    for (code, name) in [
        (1_i16, "BINARY"),
        (32, "COMPLEX64"),
        (128, "RGB24"),
        (1536, "FLOAT128"),
        (1792, "COMPLEX128"),
        (2048, "COMPLEX256"),
        (2304, "RGBA32"),
    ] {
        let path = scratch.patched("nifti1_u1.nii", &[(70, &code.to_le_bytes())])?;
        check_error(&path, &format!("the NIfTI data type {name}"));
    }
    check_error(&scratch.patched("nifti1_u1.nii", &[(70, &[3, 0])])?, "`datatype` is 3");
    Ok(())
}

#[test]
fn nifti_headers_that_contradict_the_standard() -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    let nifti1 = |offset: usize, bytes: &[u8]| scratch.patched("nifti1_u1.nii", &[(offset, bytes)]);
    check_error(&nifti1(40, &[0, 0])?, "`dim[0]` is 0");
    check_error(&nifti1(40, &[8, 0])?, "`dim[0]` is 8");
    check_error(&nifti1(44, &[0, 0])?, "every used dimension must be above zero");
    check_error(&nifti1(44, &[0xff, 0xff])?, "every used dimension must be above zero");
    check_error(&nifti1(108, &351_f32.to_le_bytes())?, "`vox_offset` is 351, inside the header");
    check_error(&nifti1(108, &0_f32.to_le_bytes())?, "`vox_offset` is 0, inside the header");
    check_error(&nifti1(108, &352.5_f32.to_le_bytes())?, "`vox_offset` is 352.5");
    check_error(&nifti1(108, &f32::NAN.to_le_bytes())?, "`vox_offset` is NaN");
    check_error(&nifti1(108, &(-16_f32).to_le_bytes())?, "`vox_offset` is -16");
    check_error(&nifti1(108, &353_f32.to_le_bytes())?, "is truncated");
    check_error(&nifti1(116, &f32::NAN.to_le_bytes())?, "`scl_inter` is NaN");
    check_error(&nifti1(123, &[4])?, "spatial code 4");
    check_error(&nifti1(280, &f32::NAN.to_le_bytes())?, "spacing");
    check_error(&nifti1(292, &f32::INFINITY.to_le_bytes())?, "origin");
    check_error(&nifti1(344, b"n+3\0")?, "its magic is `n+3\\x00`");
    check_error(&nifti1(344, &[0; 4])?, "Analyze 7.5");
    let no_sform = |offset: usize, bytes: &[u8]| scratch.patched("nifti1_qform_only.nii", &[(offset, bytes)]);
    check_error(&no_sform(80, &0_f32.to_le_bytes())?, "its voxel size (`pixdim`)");
    check_error(&no_sform(256, &0.99_f32.to_le_bytes())?, "the quaternion");
    // In NIfTI-2 the line ends in the magic show a transfer as text.
    check_error(&scratch.patched("nifti2_big_endian.nii", &[(8, b"\n")])?, "damaged transfer");
    Ok(())
}

#[test]
fn nifti_odd_but_clear() -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    let plain = read_volume(&folder().join("nifti1_i2.nii"))?;
    for slope in [0.0, f32::NAN] {
        let patch = [slope.to_le_bytes(), 7_f32.to_le_bytes()].concat();
        let path = scratch.patched("nifti1_i2.nii", &[(112, &patch)])?;
        assert_eq!(read_volume(&path)?, plain, "slope {slope} means: not scaled");
    }
    let path = scratch.patched("nifti1_i2.nii", &[(72, &[8, 0])])?;
    let image = read_image(&path, &ReadOptions::default())?;
    assert_eq!(image.volume, plain);
    assert!(image.info.warnings[0].starts_with("`bitpix` is 8"), "{:?}", image.info.warnings);

    let mut long = std::fs::read(folder().join("nifti1_i2.nii"))?;
    long.extend(b"trailing bytes");
    let image = read_image(&scratch.write("long.nii", &long)?, &ReadOptions::default())?;
    assert_eq!(image.volume, plain);
    assert_eq!(image.info.warnings, ["there are further bytes after the last voxel"]);
    Ok(())
}

#[test]
fn frames_are_counted_and_chosen() -> Result<(), Box<dyn Error>> {
    let path = folder().join("nifti1_4d_two_frames.nii");
    check_error(&path, "2 frames of [3, 4, 5] voxels");
    let first = read_volume_frame(&path, 0)?;
    assert_eq!(first, read_volume(&folder().join("nifti1_u1.nii"))?);
    assert_eq!(read_volume_frame(&path, 1)?, first.map(|value| value + 100.0));
    assert!(matches!(read_volume_frame(&path, 2), Err(IoError::NoSuchFrame { frame: 2, n_frames: 2, .. })));
    Ok(())
}

#[test]
fn a_sheared_sform_is_refused() -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    // The first element of the z row: i leans towards z by a length equal to the voxel size.
    let path = scratch.patched("nifti1_sform_only.nii", &[(312, &1.4_f32.to_le_bytes())])?;
    check_error(&path, "is sheared: its i and");
    Ok(())
}

#[test]
fn half_a_pair_is_named() -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    check_error(&scratch.patched("nifti1_pair.hdr", &[])?, "lacks its image file");
    let scratch = Scratch::new()?;
    check_error(&scratch.patched("nifti1_pair.img", &[])?, "lacks its header");
    Ok(())
}

#[test]
fn metaimages_that_are_refused() -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    let mha = |from: &str, to: &str| scratch.edited("metaimage_u1.mha", from, to);
    let mhd = |to: &str| scratch.edited("metaimage_raw.mhd", "metaimage_raw.raw", to);
    check_error(&mha("Offset = -17.25 103.5 -411.125\n", "")?, "there is no `Offset` in its header");
    check_error(&mha("ElementSpacing", "NotSpacing")?, "there is no `ElementSpacing`");
    check_error(&mha("TransformMatrix", "NoMatrix")?, "there is no `TransformMatrix`");
    check_error(&mha("DimSize = 3 4 5", "DimSize = 3 4")?, "`DimSize = 3 4` is not 3 numbers");
    check_error(&mha("DimSize = 3 4 5", "DimSize = 3 0 5")?, "`DimSize` is [3, 0, 5]");
    check_error(&mha("DimSize = 3 4 5", "DimSize = 3 4 -5")?, "`DimSize = 3 4 -5` is not 3 numbers");
    check_error(&mha("DimSize = 3 4 5", "DimSize = 3 4 300000000")?, "announces 3600000000 bytes");
    check_error(&mha("DimSize = 3 4 5", "DimSize = 3 4 5000000000")?, "no usable geometry: grid size");
    check_error(&mha("NDims = 3", "NDims = 2")?, "`DimSize = 3 4 5` is not 2 numbers");
    check_error(&mha("MET_UCHAR", "MET_UCHAR_ARRAY")?, "element type `MET_UCHAR_ARRAY`");
    check_error(&mha("MET_UCHAR", "MET_UCHAR\nElementNumberOfChannels = 3")?, "an image of 3 channels");
    check_error(&mha("BinaryData = True", "BinaryData = False")?, "whose voxels are text");
    check_error(&mha("BinaryData = True", "BinaryData = Maybe")?, "neither True nor False");
    check_error(&mha("NDims = 3", "NDims = 3\nNDims = 3")?, "`NDims` twice");
    check_error(&mha("ElementDataFile", "ElementDate")?, "has no `=`");
    check_error(&mha("ObjectType = Image", "ObjectType = Tube")?, "`ObjectType = Tube`");
    check_error(
        &mha("NDims = 3", "NDims = 3\nElementToIntensityFunctionSlope = 2")?,
        "`ElementToIntensityFunctionSlope = 2`",
    );
    check_error(&mha("NDims = 3", "NDims = 3\nDistanceUnits = cm")?, "`DistanceUnits = cm`");
    check_error(&mha("ElementSpacing = 0.", "ElementSpacing = -0.")?, "spacing");
    check_error(&mha("CompressedData = False", "CompressedData = True")?, "not a valid zlib file");
    check_error(&mhd("LIST\n1.raw")?, "a list of data files");
    check_error(&mhd("slice%03d.raw 1 5 1")?, "a pattern of data files");
    check_error(&mhd("absent.raw")?, "absent.raw");
    for outside in
        ["/etc/hostname", "../metaimage_raw.raw", "below/../../metaimage_raw.raw", "..\\metaimage_raw.raw"]
    {
        check_error(&mhd(outside)?, "outside the header's folder");
    }
    let path = scratch.edited("metaimage_4d.mha", "DimSize = 3 4 5 1", "DimSize = 3 4 1 5")?;
    check_error(&path, "5 frames of [3, 4, 1] voxels");
    Ok(())
}

#[test]
fn metaimages_that_are_odd_but_clear() -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    let plain = read_volume(&folder().join("metaimage_raw.mhd"))?;
    // In a folder below, whose name needs no care.
    std::fs::create_dir(scratch.0.path().join("data files"))?;
    let raw = std::fs::read(folder().join("metaimage_raw.raw"))?;
    scratch.write("data files/metaimage raw.raw", &raw)?;
    let path = scratch.edited("metaimage_raw.mhd", "metaimage_raw.raw", "./data files/metaimage raw.raw")?;
    assert_eq!(read_volume(&path)?, plain);
    // Line ends of Windows.
    let text = std::fs::read_to_string(folder().join("metaimage_raw.mhd"))?.replace('\n', "\r\n");
    scratch.write("metaimage_raw.raw", &raw)?;
    assert_eq!(read_volume(&scratch.write("windows.mhd", text.as_bytes())?)?, plain);
    // Geometry by explicit wish.
    let path = scratch.edited("metaimage_u1.mha", "TransformMatrix", "NoMatrix")?;
    let image = read_image(&path, &FROM_PIXDIM)?;
    assert_eq!(image.volume.grid().corner_points()[1].to_array()[1..], [103.5, -411.125]);
    assert_eq!(image.info.warnings, ["the file has no TransformMatrix: the format's default is assumed"]);
    Ok(())
}

#[test]
fn what_is_no_image_is_said_to_be_none() -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new()?;
    check_error(&scratch.write("empty.nii", b"")?, "none of the known formats");
    check_error(&scratch.write("text.mha", b"once upon a time")?, "none of the known formats");
    check_error(&scratch.write("broken.nii.gz", &[0x1f, 0x8b, 8, 0, 0])?, "not a valid gzip file");
    check_error(Path::new("/no/such/file.nii"), "/no/such/file.nii");
    Ok(())
}
