//! RLE Lossless (PS3.5 annex G).

/// The samples of one frame, little endian, from its fragment.
///
/// The fragment starts with a table of 16 words: how many segments there are and where they start. Each segment is one
/// byte plane, most significant first, packed as in PackBits.
pub(super) fn decode(fragment: &[u8], n_samples: usize, bytes_per_sample: usize) -> Result<Vec<u8>, String> {
    let word = |at: usize| -> Option<usize> {
        let bytes = fragment.get(4 * at..4 * at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let n_segments = word(0).ok_or("its RLE table is cut off")?;
    if n_segments != bytes_per_sample {
        return Err(format!("it has {n_segments} RLE segments where {bytes_per_sample} are needed"));
    }
    let mut samples = vec![0; n_samples * bytes_per_sample];
    for segment in 0..n_segments {
        let start = word(1 + segment).ok_or("its RLE table is cut off")?;
        let end = if segment + 1 < n_segments { word(2 + segment) } else { Some(fragment.len()) };
        let packed = end.and_then(|end| fragment.get(start..end)).ok_or_else(|| {
            format!("RLE segment {segment} starts at byte {start}, outside its {} bytes", fragment.len())
        })?;
        let n_unpacked =
            unpack(packed, samples.iter_mut().skip(bytes_per_sample - 1 - segment).step_by(bytes_per_sample));
        if n_unpacked < n_samples {
            return Err(format!("RLE segment {segment} ends after {n_unpacked} of {n_samples} samples"));
        }
    }
    Ok(samples)
}

/// Unpacks into `plane` until either end, and returns how many bytes were filled in.
fn unpack<'a>(packed: &[u8], mut plane: impl Iterator<Item = &'a mut u8>) -> usize {
    let mut n_filled = 0;
    let mut rest = packed;
    while let [control, tail @ ..] = rest {
        rest = tail;
        let control = *control as i8;
        if control >= 0 {
            let n = (control as usize + 1).min(rest.len());
            for (value, slot) in std::iter::zip(&rest[..n], &mut plane) {
                *slot = *value;
                n_filled += 1;
            }
            rest = &rest[n..];
        } else if control != i8::MIN {
            let Some((value, tail)) = rest.split_first() else { break };
            rest = tail;
            for slot in plane.by_ref().take((1 - isize::from(control)) as usize) {
                *slot = *value;
                n_filled += 1;
            }
        }
    }
    n_filled
}
