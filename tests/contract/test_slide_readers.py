"""What every `SlideReader` promises, held against each of them; and `SourceTiles` where there are any."""

import io
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from adaslide.adapters.slides.openslide import ChildSlideReader
from adaslide.adapters.slides.synthetic import SyntheticSlide
from adaslide.domain.errors import RegionOutOfRange
from adaslide.domain.geometry import Region, Size
from adaslide.domain.pixels import shrink
from adaslide.domain.slide import MPP_RANGE
from adaslide.ports.slides import SlideReader, SourceTiles

SAMPLE = Path(__file__).parents[2] / "samples" / "CMU-1-Small-Region.svs"


def plain(pixels):
    with Image.open(SAMPLE) as image:
        return np.asarray(image.convert("RGB"))[pixels]


@pytest.fixture(scope="module", params=["svs", "synthetic", "jpeg-tiff", "deflate-tiff", "dicom"])
def reader(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    match request.param:
        case "svs":
            made = ChildSlideReader(SAMPLE)
        case "synthetic":
            made = SyntheticSlide(Size(2500, 1900), 3, plain(np.s_[900:1668, 800:1568]))
        case "jpeg-tiff":
            SyntheticSlide(Size(2500, 1900), 3, plain(np.s_[900:1668, 800:1568])).write_tiff(folder / "a.tif")
            made = ChildSlideReader(folder / "a.tif")
        case "deflate-tiff":
            pixels = plain(np.s_[:1000, :1300])
            tifffile.imwrite(
                folder / "b.tif",
                pixels,
                tile=(256, 256),
                photometric="rgb",
                compression="zlib",
                resolution=(20000, 20000),
                resolutionunit="CENTIMETER",
            )
            made = ChildSlideReader(folder / "b.tif")
        case "dicom":
            write_dicom(folder, plain(np.s_[:1000, :1280]))
            made = ChildSlideReader(folder)
    with made:
        yield made


def write_dicom(folder, pixels):
    """A one-level VL Whole Slide Microscopy image with JPEG frames of 256 px."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

    height, width = pixels.shape[:2]
    rows, cols = -(-height // 256), -(-width // 256)
    padded = np.pad(pixels, ((0, rows * 256 - height), (0, cols * 256 - width), (0, 0)), mode="edge")
    frames = []
    for row in range(rows):
        for col in range(cols):
            buffer = io.BytesIO()
            tile = padded[row * 256 : row * 256 + 256, col * 256 : col * 256 + 256]
            Image.fromarray(tile).save(buffer, "JPEG", quality=85)
            frames.append(buffer.getvalue())
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.FrameOfReferenceUID = generate_uid()
    data.Modality = "SM"
    data.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    data.PhotometricInterpretation = "YBR_FULL_422"
    data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.Rows = data.Columns = 256
    data.NumberOfFrames = len(frames)
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = width, height
    data.TotalPixelMatrixFocalPlanes = data.NumberOfOpticalPaths = 1
    data.ImagedVolumeWidth, data.ImagedVolumeHeight = width * 0.0005, height * 0.0005
    data.DimensionOrganizationType = "TILED_FULL"
    measures = pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.0005, 0.0005], 0.001
    shared = pydicom.Dataset()
    shared.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [shared]
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    data.save_as(folder / "level0.dcm", enforce_file_format=True)


def test_is_a_slide_reader(reader):
    assert isinstance(reader, SlideReader)


def test_facts(reader):
    facts = reader.facts
    assert facts.levels[0].size == facts.size
    assert facts.levels[0].downsample == 1
    assert [one.downsample for one in facts.levels] == sorted(one.downsample for one in facts.levels)
    assert facts.mpp is not None
    assert MPP_RANGE[0] <= facts.mpp <= MPP_RANGE[1]
    assert facts.source_bytes > 0
    assert len(bytes.fromhex(facts.source_sha256)) == 32
    assert reader.facts == facts


def test_reads_any_region_the_same_way(reader):
    for level, one in enumerate(reader.facts.levels):
        whole = Region(0, 0, min(900, one.size.width), min(700, one.size.height))
        pixels = reader.read(whole, level)
        assert pixels.shape == (whole.height, whole.width, 3)
        assert pixels.dtype == np.uint8
        part = Region(17, 31, whole.width - 40, whole.height - 50)
        if level == 0:
            assert np.array_equal(reader.read(part), pixels[31 : part.bottom, 17 : part.right])
        assert reader.read(part, level).shape == (part.height, part.width, 3)


def test_the_last_pixel_can_be_read(reader):
    size = reader.facts.size
    assert reader.read(Region(size.width - 1, size.height - 1, 1, 1)).shape == (1, 1, 3)


@pytest.mark.parametrize("region", [Region(-1, 0, 10, 10), Region(0, -1, 10, 10), Region(0, 0, 1 << 20, 10)])
def test_outside_is_an_error(reader, region):
    with pytest.raises(RegionOutOfRange):
        reader.read(region)
    with pytest.raises(RegionOutOfRange):
        reader.read(Region(0, 0, 10, 10), len(reader.facts.levels))
    with pytest.raises(RegionOutOfRange):
        reader.read(Region(0, 0, 10, 10), -1)


def test_thumbnail_is_the_slide_made_small(reader):
    size = reader.facts.size
    small = reader.thumbnail(300)
    assert max(small.shape[:2]) == 300
    whole = reader.read(Region(0, 0, size.width, size.height))
    expected = np.asarray(
        Image.fromarray(whole).resize((small.shape[1], small.shape[0]), Image.Resampling.BOX)
    )
    # Compared at a tenth: levels and filters differ in sharpness, not in what is where.
    assert np.abs(shrink(small, 10).astype(int) - shrink(expected, 10)).mean() < 2


def test_tiles_are_the_files_own(reader):
    tiles = reader.facts.tiles
    if tiles is None:
        assert not isinstance(reader, SourceTiles) or reader.facts.vendor in ("dicom", "generic-tiff")
        return
    assert isinstance(reader, SourceTiles)
    stored = [reader.tile(row, col) for row in range(tiles.rows) for col in range(tiles.cols)]
    assert sum(len(one.data) for one in stored) == tiles.total_bytes
    assert all(one.data[:2] == b"\xff\xd8" for one in stored)
    for row, col in ((tiles.rows, 0), (0, tiles.cols), (-1, 0)):
        with pytest.raises(RegionOutOfRange):
            reader.tile(row, col)


def test_the_sample_slide():
    with ChildSlideReader(SAMPLE) as reader, tifffile.TiffFile(SAMPLE) as tiff:
        facts, page = reader.facts, tiff.pages.first
        assert (facts.size, facts.vendor, facts.mpp) == (Size(2220, 2967), "aperio", 0.499)
        assert facts.objective == 20.0
        assert (facts.tiles.tile, facts.tiles.cols, facts.tiles.rows) == (240, 10, 13)
        assert facts.tiles.total_bytes == 1_275_934
        assert facts.source_bytes == SAMPLE.stat().st_size
        file = SAMPLE.read_bytes()
        for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
            tile = reader.tile(*divmod(index, 10))
            assert tile.data == file[offset : offset + count]
            assert tile.rgb
            assert tile.tables == page.jpegtables
        with openslide.OpenSlide(SAMPLE) as slide:
            expected = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
        assert np.array_equal(reader.read(Region(0, 0, 2220, 2967)), expected)


def test_dicom_has_no_tiles_and_keeps_its_scale(tmp_path):
    pixels = plain(np.s_[:700, :900])
    write_dicom(tmp_path, pixels)
    for path in (tmp_path, tmp_path / "level0.dcm"):
        with ChildSlideReader(path) as reader:
            assert (reader.facts.vendor, reader.facts.tiles) == ("dicom", None)
            assert reader.facts.mpp == pytest.approx(0.5)
            assert reader.facts.size == Size(900, 700)
            assert np.abs(reader.read(Region(0, 0, 900, 700)).astype(int) - pixels).mean() < 8


def test_icc_is_kept_byte_by_byte_and_an_impossible_mpp_is_unknown(tmp_path):
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "icc.tif"
    tifffile.imwrite(
        path,
        plain(np.s_[:512, :512]),
        tile=(256, 256),
        photometric="rgb",
        iccprofile=icc,
        resolution=(72, 72),
        resolutionunit="INCH",
    )
    with ChildSlideReader(path) as reader:
        assert reader.facts.icc == icc
        assert reader.facts.mpp is None
