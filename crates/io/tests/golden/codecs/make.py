"""Small images in every compression, written and read back by other programs: the expected values of the `codecs` golden.

usage: make.py (needs dcmtk on the path, pydicom and imagecodecs)

Writes one DICOM file for each case and expected.tsv: name, largest allowed difference of a stored value, CRC-32 of the decoded
values (int32, little endian) as the other program decodes them, and these values in a file of that name with `.raw` where
they are allowed to differ.
"""

import pathlib
import subprocess
import tempfile
import zlib

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

FOLDER = pathlib.Path(__file__).parent
ROWS, COLUMNS = 37, 43
JPEG_LS, JPEG_LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
J2K, J2K_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
PLAIN = "1.2.840.10008.1.2.1"


def phantom(bits, signed):
    """Flat air, a noisy disc, an edge, and the two extreme values."""
    rng = np.random.default_rng(bits + 100 * signed)
    j, i = np.mgrid[:ROWS, :COLUMNS]
    top = (1 << bits) - 1
    image = np.zeros((ROWS, COLUMNS))
    disc = (i - 20) ** 2 + (j - 17) ** 2 < 15**2
    image[disc] = (0.4 * top + 0.3 * top * np.sin(i / 5.0) * np.cos(j / 7.0) + rng.normal(0, top / 60, image.shape))[disc]
    image[25:, 30:] = 0.8 * top
    image = np.clip(np.rint(image), 0, top).astype(np.int32)
    image[3, 40], image[4, 40] = top, 0
    return image - (1 << (bits - 1)) * signed


def dataset(image, bits, signed, allocated):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4.1"
    meta.TransferSyntaxUID = PLAIN
    d = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    d.Modality, d.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M"]
    d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
    d.PatientName, d.PatientID, d.SeriesNumber, d.InstanceNumber = "Phantom", "1", 1, 1
    d.ImagePositionPatient, d.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    d.PixelSpacing, d.SliceThickness = [1, 1], 2
    d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = allocated, bits, bits - 1, int(signed)
    d.PixelData = image.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes() + b"\0" * (image.size * allocated // 8 % 2)
    return d


def words(image, bits):
    """Stored bits without sign extension, as JPEG-LS takes them."""
    return (image & ((1 << bits) - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def main():
    lines = []

    def case(name, d, tolerance, expected):
        d.save_as(FOLDER / f"{name}.dcm", enforce_file_format=True)
        values = np.ascontiguousarray(expected, "<i4")
        if tolerance:
            (FOLDER / f"{name}.raw").write_bytes(values.astype("<i2").tobytes())
        lines.append(f"{name}\t{tolerance}\t{zlib.crc32(values.tobytes()):08x}")

    def wrapped(name, bits, signed, syntax, stream, tolerance, expected):
        d = dataset(phantom(bits, signed), bits, signed, 8 if bits <= 8 else 16)
        d.file_meta.TransferSyntaxUID = syntax
        d.PixelData = encapsulate([stream])
        d["PixelData"].VR = "OB"
        case(name, d, tolerance, expected)

    def by_dcmtk(name, bits, signed, encode, decode, tolerance=0):
        with tempfile.TemporaryDirectory() as folder:
            plain, packed, unpacked = (f"{folder}/{n}" for n in ("plain", "packed", "unpacked"))
            image = phantom(bits, signed)
            dataset(image, bits, signed, 8 if bits <= 8 else 16).save_as(plain, enforce_file_format=True)
            subprocess.run([*encode, plain, packed], check=True)
            subprocess.run([*decode, packed, unpacked], check=True)
            expected = pydicom.dcmread(unpacked).pixel_array.astype(np.int32)
            if not tolerance and "near" not in name and "point" not in name:
                assert (expected == image).all(), name
            case(name, pydicom.dcmread(packed), tolerance, expected)

    for predictor in range(1, 8):
        by_dcmtk(f"jpeg_lossless_predictor{predictor}", 12, False, ["dcmcjpeg", "+el", "+sv", str(predictor)], ["dcmdjpeg"])
    by_dcmtk("jpeg_lossless_16bit", 16, False, ["dcmcjpeg", "+el", "+sv", "6"], ["dcmdjpeg"])
    by_dcmtk("jpeg_lossless_signed", 16, True, ["dcmcjpeg", "+e1"], ["dcmdjpeg"])
    by_dcmtk("jpeg_lossless_8bit", 8, False, ["dcmcjpeg", "+e1"], ["dcmdjpeg"])
    by_dcmtk("jpeg_lossless_point_transform", 12, False, ["dcmcjpeg", "+el", "+sv", "4", "+pt", "3"], ["dcmdjpeg"])
    by_dcmtk("jpeg_baseline", 8, False, ["dcmcjpeg", "+eb", "+q", "85"], ["dcmdjpeg"], 1)
    by_dcmtk("jpeg_extended_12bit", 12, False, ["dcmcjpeg", "+ee", "+q", "90"], ["dcmdjpeg"], 1)
    for bits, signed in ((8, False), (12, False), (12, True), (16, False), (16, True)):
        by_dcmtk(f"jpeg_ls_{bits}bit{'_signed' * signed}", bits, signed, ["dcmcjpls"], ["dcmdjpls"])
    for bits, near in ((8, 1), (12, 3), (16, 7)):
        by_dcmtk(f"jpeg_ls_near{near}_{bits}bit", bits, False, ["dcmcjpls", "+en", "+md", str(near)], ["dcmdjpls"])
    by_dcmtk("rle", 16, True, ["dcmcrle"], ["dcmdrle"])

    for bits, signed in ((8, False), (12, False), (12, True), (16, False), (16, True)):
        image = phantom(bits, signed)
        dtype = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
        stream = imagecodecs.jpeg2k_encode(image.astype(dtype), codecformat="J2K", bitspersample=bits, reversible=True, level=0)
        decoded = imagecodecs.jpeg2k_decode(stream).astype(np.int32)
        assert (decoded == image).all()
        wrapped(f"jpeg_2000_{bits}bit{'_signed' * signed}", bits, signed, J2K, stream, 0, decoded)
    image = phantom(12, False)
    stream = imagecodecs.jpeg2k_encode(image.astype("u2"), codecformat="J2K", bitspersample=12, reversible=False, level=60)
    wrapped("jpeg_2000_lossy", 12, False, J2K_LOSSY, stream, 1, imagecodecs.jpeg2k_decode(stream).astype(np.int32))
    stream = imagecodecs.jpeg2k_encode(image.astype("u2"), codecformat="JP2", bitspersample=12, reversible=True, level=0)
    wrapped("jpeg_2000_in_a_jp2_file", 12, False, J2K, stream, 0, image)

    (FOLDER / "expected.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
