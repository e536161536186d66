//! What is written has the bytes, the geometry and the values that it should.

use std::error::Error;
use std::path::Path;

use synthct_image::{Grid, LabelMap, Mask, Matrix3, PointLps, Volume, VoxelIndex};
use synthct_io::{
    ElementType, ImageFormat, IoError, OutputType, ReadOptions, read_image, read_label_map, read_mask,
    read_volume, write_label_map, write_mask, write_volume,
};

const EXTENSIONS: [&str; 8] = ["nii", "nii.gz", "hdr", "hdr.gz", "img", "img.gz", "mha", "mhd"];

/// 3×4×5 voxels, three spacings, an odd origin, and axes along none of the world's.
fn oblique_grid() -> Result<Grid, Box<dyn Error>> {
    let (sin, cos) = 0.4_f64.sin_cos();
    let about_z = Matrix3([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]);
    let (sin, cos) = (-1.1_f64).sin_cos();
    let about_x = Matrix3([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]]);
    Ok(Grid::new([3, 4, 5], [0.7, 1.3, 2.9], PointLps::new(-17.25, 103.5, -411.125), about_z * about_x)?)
}

fn numbered(grid: &Grid) -> Volume<f32> {
    Volume::from_index_fn(grid, |index| (100 * index.k + 10 * index.j + index.i) as f32)
}

#[test]
fn every_format_and_type_keeps_geometry_and_values() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let grid = oblique_grid()?;
    let volume = numbered(&grid).map(|value| value / 2.0);
    let types = [
        (OutputType::Auto, ElementType::F32),
        (OutputType::F32, ElementType::F32),
        (OutputType::I32, ElementType::I32),
        (OutputType::I16, ElementType::I16),
        (OutputType::U16, ElementType::U16),
        (OutputType::U8, ElementType::U8),
    ];
    for extension in EXTENSIONS {
        let path = folder.path().join(format!("image.{extension}"));
        for (output_type, element_type) in types {
            write_volume(&path, &volume, output_type)?;
            let image = read_image(&path, &ReadOptions::default())?;
            assert_eq!(image.info.warnings, Vec::<String>::new(), "{extension} {output_type:?}");
            assert_eq!(image.info.storage.map(|storage| storage.element_type), Some(element_type));
            for (found, expected) in std::iter::zip(image.volume.grid().corner_points(), grid.corner_points())
            {
                assert!(found.distance_mm(expected) < 1e-4, "{extension}: {found:?} instead of {expected:?}");
            }
            let expected = match element_type {
                ElementType::F32 => volume.clone(),
                _ => volume.map(|value| value.round()),
            };
            assert_eq!(image.volume.as_slice(), expected.as_slice(), "{extension} {output_type:?}");
        }
    }
    Ok(())
}

#[test]
fn nifti_fields_are_where_the_standard_has_them() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("image.nii");
    // Sagittal storage: i to posterior, j to inferior, k to the left.
    let direction = Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]);
    let grid = Grid::new([3, 4, 5], [0.5, 2.0, 4.0], PointLps::new(10.0, -20.0, 30.0), direction)?;
    write_volume(&path, &numbered(&grid), OutputType::I16)?;
    let bytes = std::fs::read(&path)?;
    let i16_at = |offset: usize| i16::from_le_bytes([bytes[offset], bytes[offset + 1]]);
    let f32s_at = |offset: usize, n: usize| -> Vec<f32> {
        let chunks = bytes[offset..offset + 4 * n].as_chunks::<4>().0;
        chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
    };
    assert_eq!(bytes.len(), 352 + 2 * 60);
    assert_eq!([0, 1, 2, 3].map(|n| i16_at(40 + 2 * n)), [3, 3, 4, 5]);
    assert_eq!([i16_at(70), i16_at(72)], [4, 16]);
    assert_eq!(f32s_at(108, 1), [352.0]);
    assert_eq!([i16_at(252), i16_at(254)], [1, 1]);
    // In RAS: i to posterior is -y, j to inferior is -z, k to the left is -x.
    assert_eq!(f32s_at(280, 4), [0.0, 0.0, -4.0, -10.0]);
    assert_eq!(f32s_at(296, 4), [-0.5, 0.0, 0.0, 20.0]);
    assert_eq!(f32s_at(312, 4), [0.0, -2.0, 0.0, 30.0]);
    // Those axes are left-handed: det [[0,0,-1],[-1,0,0],[0,-1,0]] = -1.
    assert_eq!(f32s_at(76, 4), [-1.0, 0.5, 2.0, 4.0]);
    assert_eq!(&bytes[344..348], b"n+1\0");
    // Voxel (1, 2, 3) is number 1 + 3·2 + 12·3.
    assert_eq!(i16_at(352 + 2 * 43), 321);
    Ok(())
}

#[test]
fn a_long_axis_is_written_as_nifti2() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let grid = Grid::axis_aligned([40_000, 1, 2], [1.0, 2.0, 3.0], PointLps::new(1.0, 2.0, 3.0))?;
    let volume = Volume::from_index_fn(&grid, |index| (index.i + index.k) as f32);
    for name in ["long.nii", "long.hdr.gz"] {
        let path = folder.path().join(name);
        write_volume(&path, &volume, OutputType::Auto)?;
        let image = read_image(&path, &ReadOptions::default())?;
        assert_eq!(image.info.format, ImageFormat::Nifti2);
        assert_eq!(image.volume, volume);
    }
    Ok(())
}

#[test]
fn masks_and_labels_come_back() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let labels = LabelMap::new(numbered(&oblique_grid()?).map(|&value| value as u16 * 100));
    let mask = Mask::from_values(labels.volume(), |&label| label > 20_000);
    for extension in EXTENSIONS {
        let path = folder.path().join(format!("labels.{extension}"));
        write_label_map(&path, &labels)?;
        assert_eq!(read_label_map(&path)?.volume().as_slice(), labels.volume().as_slice());
        write_mask(&path, &mask)?;
        assert_eq!(read_mask(&path)?.as_slice(), mask.as_slice());
    }
    Ok(())
}

#[test]
fn values_that_do_not_fit_are_refused_and_nothing_is_written() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut volume = numbered(&oblique_grid()?);
    volume[VoxelIndex::new(2, 1, 3)] = f32::NAN;
    let path = folder.path().join("image.nii");
    let error = write_volume(&path, &volume, OutputType::U16);
    assert!(matches!(error, Err(IoError::Value { index_ijk: [2, 1, 3], .. })), "{error:?}");
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);

    write_volume(&path, &volume, OutputType::F32)?;
    assert!(read_volume(&path)?[VoxelIndex::new(2, 1, 3)].is_nan());
    assert!(matches!(read_mask(&path), Err(IoError::Value { index_ijk: [2, 1, 3], .. })));
    assert!(matches!(read_label_map(&path), Err(IoError::Value { index_ijk: [2, 1, 3], .. })));
    Ok(())
}

#[test]
fn an_unknown_extension_names_the_known_ones() -> Result<(), Box<dyn Error>> {
    let result = write_mask(Path::new("image.png"), &Mask::full(&oblique_grid()?));
    let Err(error @ IoError::UnknownExtension { .. }) = result else {
        return Err(format!("expected an unknown extension, got {result:?}").into());
    };
    assert!(error.to_string().contains(".nii.gz"), "{error}");
    Ok(())
}

#[test]
fn same_volume_same_bytes() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let volume = numbered(&oblique_grid()?);
    for extension in ["nii.gz", "mha"] {
        let [one, other] = ["one", "other"].map(|name| folder.path().join(format!("{name}.{extension}")));
        write_volume(&one, &volume, OutputType::Auto)?;
        write_volume(&other, &volume, OutputType::Auto)?;
        assert_eq!(std::fs::read(one)?, std::fs::read(other)?, "{extension}");
    }
    Ok(())
}
