//! Writing MetaImage.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use flate2::write::ZlibEncoder;
use synthct_image::Grid;

use crate::output::{LEVEL, Packer, VoxelKind, VoxelWriter, write_aside};
use crate::{ElementType, IoError};

/// Writes voxels on a grid: one compressed file for `.mha`, header and plain `.raw` of the same name for `.mhd`.
pub(crate) fn write(
    path: &Path,
    grid: &Grid,
    element_type: ElementType,
    kind: VoxelKind,
    voxels: &VoxelWriter,
) -> Result<(), IoError> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mhd")) {
        let data_path = path.with_extension("raw");
        let name = data_path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            IoError::unsupported(
                path,
                "a `.mhd` whose name is not Unicode, since it must name its data file,",
            )
        })?;
        let header = header_text(grid, (element_type, kind), None, name);
        // The voxels first: a header that stands alone would announce what is not there.
        write_aside(&data_path, Packer::Plain, voxels)?;
        return write_aside(path, Packer::Plain, |sink| sink.write_all(header.as_bytes()));
    }
    // The header comes first and tells the compressed size, so the packed bytes wait in memory.
    let mut encoder = ZlibEncoder::new(Vec::new(), LEVEL);
    let packed = voxels(&mut encoder).and_then(|()| encoder.finish()).map_err(IoError::io(path))?;
    let header = header_text(grid, (element_type, kind), Some(packed.len()), "LOCAL");
    write_aside(path, Packer::Plain, |sink: &mut dyn Write| -> io::Result<()> {
        sink.write_all(header.as_bytes())?;
        sink.write_all(&packed)
    })
}

fn header_text(
    grid: &Grid,
    (element_type, kind): (ElementType, VoxelKind),
    packed_size: Option<usize>,
    data_file: &str,
) -> String {
    let join = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    let [ni, nj, nk] = grid.size_ijk();
    // The axes one after the other: the rows of the transpose.
    let axes = grid.direction().transposed().0.concat();
    let mut text =
        String::from("ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n");
    let mut line = |key: &str, value: &str| {
        writeln!(text, "{key} = {value}").expect("because writing to a string cannot fail");
    };
    match packed_size {
        Some(n_bytes) => {
            line("CompressedData", "True");
            line("CompressedDataSize", &n_bytes.to_string());
        }
        None => line("CompressedData", "False"),
    }
    line("TransformMatrix", &join(&axes));
    line("Offset", &join(&grid.origin_lps().to_array()));
    line("CenterOfRotation", "0 0 0");
    line("ElementSpacing", &join(&grid.spacing_mm()));
    line("DimSize", &format!("{ni} {nj} {nk}"));
    if kind == VoxelKind::Vector {
        line("ElementNumberOfChannels", "3");
    }
    line("ElementType", element_name(element_type));
    line("ElementDataFile", data_file);
    text
}

const fn element_name(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::U8 => "MET_UCHAR",
        ElementType::I8 => "MET_CHAR",
        ElementType::U16 => "MET_USHORT",
        ElementType::I16 => "MET_SHORT",
        ElementType::U32 => "MET_UINT",
        ElementType::I32 => "MET_INT",
        ElementType::U64 => "MET_ULONG_LONG",
        ElementType::I64 => "MET_LONG_LONG",
        ElementType::F32 => "MET_FLOAT",
        ElementType::F64 => "MET_DOUBLE",
    }
}
