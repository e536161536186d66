//! JPEG baseline and lossless in DICOM fragments (ISO/IEC 10918-1, PS3.5 section 8.2.1).
//!
//! The image's own header is checked before the decoder sees it: its size must be that of the DICOM image, and what the
//! decoder is known to get wrong is refused instead of decoded.

use jpeg_decoder::Decoder;

/// What a JPEG stream says of itself before its first scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// Last nibble of the start-of-frame marker: 0 baseline, 1 extended, 3 lossless.
    process: u8,
    precision: u8,
    height: u16,
    width: u16,
    n_components: u8,
    restart_interval: u16,
    /// The lossless predictor, 1 to 7.
    predictor: u8,
    point_transform: u8,
}

/// The samples of one frame, little endian, one or two bytes each as `bytes_per_sample` says.
pub(super) fn decode(
    stream: &[u8],
    rows: usize,
    columns: usize,
    bytes_per_sample: usize,
) -> Result<Vec<u8>, String> {
    let head = head(stream).ok_or("its JPEG header is damaged")?;
    if (usize::from(head.height), usize::from(head.width)) != (rows, columns) {
        return Err(format!(
            "its JPEG image has {} rows and {} columns, but DICOM says {rows} and {columns}",
            head.height, head.width
        ));
    }
    if head.n_components != 1 {
        return Err(format!("its JPEG image has {} components where 1 is needed", head.n_components));
    }
    match head.process {
        0 | 1 if head.precision == 8 => {}
        3 if (2..=16).contains(&head.precision) => {}
        process => {
            return Err(format!(
                "JPEG process SOF{process} with {} bits is not supported; convert the file to an uncompressed transfer syntax",
                head.precision
            ));
        }
    }
    if head.process == 3 && (head.point_transform != 0 || (head.restart_interval != 0 && head.predictor == 1))
    {
        return Err("JPEG lossless with a point transform or restart intervals is not supported; \
                    convert the file to an uncompressed transfer syntax"
            .to_owned());
    }
    let mut decoder = Decoder::new(stream);
    decoder.set_max_decoding_buffer_size(rows * columns * 2);
    let decoded = decoder.decode().map_err(|error| format!("its JPEG image is damaged: {error}"))?;
    let stored_bytes = if head.precision == 8 { 1 } else { 2 };
    if decoded.len() != rows * columns * stored_bytes {
        return Err(format!(
            "its JPEG image gave {} bytes where {} are needed",
            decoded.len(),
            rows * columns * stored_bytes
        ));
    }
    match (stored_bytes, bytes_per_sample) {
        (1, 1) => Ok(decoded),
        (1, 2) => Ok(decoded.into_iter().flat_map(|value| u16::from(value).to_le_bytes()).collect()),
        // The decoder hands out words in the machine's order.
        (2, 2) => Ok(decoded
            .as_chunks::<2>()
            .0
            .iter()
            .flat_map(|&word| u16::from_ne_bytes(word).to_le_bytes())
            .collect()),
        _ => Err(format!(
            "its JPEG image has {} bits a sample, but DICOM allocates {} bits",
            head.precision,
            8 * bytes_per_sample
        )),
    }
}

/// Walks the marker segments up to the first scan.
fn head(stream: &[u8]) -> Option<Head> {
    let mut rest = stream.strip_prefix(&[0xFF, 0xD8])?;
    let mut head = Head {
        process: 0,
        precision: 0,
        height: 0,
        width: 0,
        n_components: 0,
        restart_interval: 0,
        predictor: 0,
        point_transform: 0,
    };
    loop {
        let [0xFF, marker, tail @ ..] = rest else { return None };
        if *marker == 0xFF {
            // A fill byte before the marker.
            rest = &rest[1..];
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*tail.first()?, *tail.get(1)?]));
        let segment = tail.get(2..length)?;
        rest = &tail[length..];
        match *marker {
            0xDD => head.restart_interval = u16::from_be_bytes(segment.get(..2)?.try_into().ok()?),
            // SOF markers: all of C0-CF but DHT (C4), JPG (C8) and DAC (CC).
            0xC0..=0xCF if !matches!(*marker, 0xC4 | 0xC8 | 0xCC) => {
                let [precision, h1, h0, w1, w0, n_components, ..] = *segment else { return None };
                head = Head {
                    process: marker & 0x0F,
                    precision,
                    height: u16::from_be_bytes([h1, h0]),
                    width: u16::from_be_bytes([w1, w0]),
                    n_components,
                    ..head
                };
            }
            0xDA => {
                let [.., predictor, _, approximation] = *segment else { return None };
                head.predictor = predictor;
                head.point_transform = approximation & 0x0F;
                return (head.width > 0 && head.height > 0).then_some(head);
            }
            _ => {}
        }
    }
}
