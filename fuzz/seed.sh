#!/bin/sh
# Seeds for the fuzz targets from the golden files of crates/io.
set -eu
cd "$(dirname "$0")"
golden=../crates/io/tests/golden
mkdir -p corpus/dicom corpus/codec corpus/image corpus/transform
cp "$golden"/codecs/*.dcm corpus/dicom/
cp "$golden"/images/*.nii "$golden"/images/*.nii.gz "$golden"/images/*.mha corpus/image/
cp "$golden"/transforms/*.tfm "$golden"/transforms/*.mat "$golden"/transforms/*.txt corpus/transform/
cp "$golden"/transforms/field* corpus/image/
# The frame of each file, with the five bytes that the target expects: syntax, rows, columns, bits - 1, sign.
python3 - "$golden"/codecs <<'PYTHON'
import pathlib, sys
ITEM = b"\xfe\xff\x00\xe0"
for path in pathlib.Path(sys.argv[1]).glob("*.dcm"):
    data = path.read_bytes()
    start = data.index(ITEM, data.index(b"\xe0\x7f\x10\x00")) + 4
    start += 4 + int.from_bytes(data[start : start + 4], "little") + 4
    frame = data[start + 4 : start + 4 + int.from_bytes(data[start : start + 4], "little")]
    syntax = 0 if "rle" in path.name else 3 if "2000" in path.name else 2 if "jpeg_ls" in path.name else 1
    bits = next((bits for bits in (8, 16) if f"{bits}bit" in path.name), 8 if "baseline" in path.name else 16 if "signed" in path.name or "rle" in path.name else 12)
    head = bytes([syntax, 37, 43, bits - 1, int("signed" in path.name or "rle" in path.name)])
    pathlib.Path("corpus/codec", path.stem).write_bytes(head + frame)
PYTHON
