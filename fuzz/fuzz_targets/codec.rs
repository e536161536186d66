//! Any bytes as one compressed frame, in a valid DICOM file: RLE, JPEG, JPEG-LS, JPEG 2000.
//!
//! Input: the syntax, rows, columns, bits and sign, a byte each, then the frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synthct_fuzz::with_file;
use synthct_io::dicom::read_series;

const SYNTAXES: [&str; 4] =
    ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"];

fuzz_target!(|data: &[u8]| {
    let [syntax, rows, columns, bits, sign, frame @ ..] = data else { return };
    let bits = u16::from(bits % 16) + 1;
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    let mut put = |group: u16, element: u16, vr: &[u8; 2], value: &[u8]| {
        file.extend(group.to_le_bytes());
        file.extend(element.to_le_bytes());
        file.extend(vr);
        file.extend((value.len() as u16).to_le_bytes());
        file.extend(value);
    };
    put(2, 0x10, b"UI", SYNTAXES[usize::from(syntax % 4)].as_bytes());
    put(8, 0x60, b"CS", b"MR");
    put(0x18, 0x50, b"DS", b"1 ");
    put(0x20, 0x0E, b"UI", b"1.");
    put(0x20, 0x32, b"DS", b"0\\0\\0 ");
    put(0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0 ");
    put(0x28, 0x02, b"US", &1_u16.to_le_bytes());
    put(0x28, 0x04, b"CS", b"MONOCHROME2 ");
    put(0x28, 0x10, b"US", &u16::from(*rows).to_le_bytes());
    put(0x28, 0x11, b"US", &u16::from(*columns).to_le_bytes());
    put(0x28, 0x30, b"DS", b"1\\1 ");
    put(0x28, 0x100, b"US", &(if bits > 8 { 16_u16 } else { 8 }).to_le_bytes());
    put(0x28, 0x101, b"US", &bits.to_le_bytes());
    put(0x28, 0x102, b"US", &(bits - 1).to_le_bytes());
    put(0x28, 0x103, b"US", &u16::from(sign % 2).to_le_bytes());
    file.extend([0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    file.extend([0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0]);
    file.extend([0xFE, 0xFF, 0x00, 0xE0]);
    file.extend((frame.len() as u32).to_le_bytes());
    file.extend(frame);
    file.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    with_file("frame", &file, |path| {
        if let Ok((volume, _)) = read_series(path, None) {
            assert_eq!(volume.grid().size_ijk(), [usize::from(*columns), usize::from(*rows), 1]);
        }
    });
});
