"""Small valid files of every form that is read, from which the fuzzer starts."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.dicom_files import write_dicom_slide
from benchmarks.microscope_files import LifImage, write_lif, write_nd2
from custom_components.pairs import write_annotations, write_image
from custom_components.pairs.layout import Layout

RNG = np.random.default_rng(0)
COLOUR = gaussian_filter(RNG.uniform(0, 255, (200, 160, 3)), (3, 3, 0)).astype(np.uint8)
GREY = COLOUR[..., 0]
CHANNELS = gaussian_filter(RNG.uniform(0, 60000, (3, 120, 100)), (0, 2, 2)).astype(np.uint16)
VOLUME = gaussian_filter(RNG.normal(size=(20, 24, 28)), 2).astype(np.float32)
MARKS = "name,X,Y\n" + "".join(f"p{number},{10 + number},{20.5 + 2 * number}\n" for number in range(12))
RING = [[10.0, 10.0], [60.0, 12.0], [50.0, 80.0], [10.0, 10.0]]
OUTLINES = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": f"a{number}",
            "geometry": {"type": "Polygon", "coordinates": [[[x + number, y] for x, y in RING]]},
            "properties": {"name": f"region {number}", "classification": {"name": "Tumour", "color": [200, 0, 0]}},
        }
        for number in range(4)
    ],
}
IMAGESCOPE = (
    '<Annotations MicronsPerPixel="0.5"><Annotation Id="1" Name="a"><Regions><Region Id="1" Type="0"><Vertices>'
    + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in RING)
    + "</Vertices></Region></Regions></Annotation></Annotations>"
)
ASAP = (
    '<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="g"><Coordinates>'
    + "".join(f'<Coordinate Order="{order}" X="{x}" Y="{y}"/>' for order, (x, y) in enumerate(RING))
    + "</Coordinates></Annotation></Annotations></ASAP_Annotations>"
)
FCSV = (
    "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n"
    "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    "1,1.5,2.5,3.5,0,0,0,1,1,1,0,F-1,,\n2,4,5,6,0,0,0,1,1,1,0,F-2,,\n"
)
MARKUPS = {
    "markups": [
        {
            "type": "Fiducial",
            "coordinateSystem": "LPS",
            "controlPoints": [{"id": "1", "label": "F-1", "position": [1.0, 2.0, 3.0]}],
        }
    ]
}


def _tiffs(folder: Path) -> None:
    tifffile.imwrite(folder / "plain.tif", GREY)
    tifffile.imwrite(folder / "lzw.tif", COLOUR, compression="lzw", predictor=True, rowsperstrip=16)
    tifffile.imwrite(folder / "float.tif", VOLUME[0].repeat(4, 0).repeat(4, 1), compression="zlib")
    tifffile.imwrite(folder / "imagej.tif", CHANNELS, imagej=True, metadata={"axes": "CYX", "Labels": ["a", "b", "c"]})
    tifffile.imwrite(folder / "palette.tif", GREY, photometric="palette", colormap=np.arange(768).reshape(3, 256) * 80)
    names = Layout("channels", ("DAPI", "CD3", "CD20"), ((0, 0, 255), (0, 255, 0), (255, 0, 0)))
    write_image(folder / "channels.ome.tif", CHANNELS, pixel_size=(0.5, 0.5), layout=names)
    with tifffile.TiffWriter(folder / "pyramid.ome.tif", ome=True) as writer:
        writer.write(COLOUR, tile=(64, 64), compression="zlib", subifds=1, photometric="rgb")
        writer.write(COLOUR[::2, ::2], tile=(64, 64), compression="zlib", subfiletype=1, photometric="rgb")
    described = "Aperio Image Library v11\n160x200 [0,0 160x200] (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"
    options = {"tile": (64, 64), "compression": "jpeg", "photometric": "rgb", "metadata": None}
    tifffile.imwrite(folder / "slide.svs", COLOUR, description=described, **options)


def _pictures(folder: Path) -> None:
    Image.fromarray(COLOUR).save(folder / "colour.png")
    Image.fromarray(CHANNELS[0]).save(folder / "deep.png")
    Image.fromarray(COLOUR).quantize(32).save(folder / "palette.png")
    Image.fromarray(COLOUR).save(folder / "picture.jpg", quality=80)
    Image.fromarray(COLOUR).save(folder / "progressive.jpg", quality=80, progressive=True)
    Image.fromarray(COLOUR).save(folder / "picture.bmp")


def _volumes(folder: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(VOLUME.T, np.diag([1.0, 1.5, 2.0, 1.0])), folder / "volume.nii")
    nibabel.save(nibabel.Nifti1Image(VOLUME.T, np.diag([1.0, 1.5, 2.0, 1.0])), folder / "packed.nii.gz")
    nibabel.save(nibabel.MGHImage(VOLUME.T, np.eye(4)), folder / "volume.mgz")
    nibabel.save(nibabel.AnalyzeImage(VOLUME.T, np.eye(4)), folder / "analyze.img")
    image = sitk.GetImageFromArray(VOLUME)
    for name in ("volume.mha", "volume.nrrd"):
        sitk.WriteImage(image, str(folder / name))
        sitk.WriteImage(image, str(folder / f"packed_{name}"), useCompression=True)
    section = sitk.GetImageFromArray(COLOUR, isVector=True)
    sitk.WriteImage(section, str(folder / "section.mha"))
    sitk.WriteImage(sitk.Cast(sitk.RescaleIntensity(image, 0, 1000), sitk.sitkUInt16), str(folder / "volume.dcm"))
    np.save(folder / "array.npy", VOLUME)
    np.savez_compressed(folder / "array.npz", VOLUME)


def _microscopes(folder: Path) -> None:
    write_lif(folder / "microscope.lif", LifImage("one", CHANNELS, dyes=("a", "b", "c")))
    write_nd2(folder / "microscope.nd2", np.moveaxis(CHANNELS, 0, -1)[None], ("a", "b", "c"))
    made = write_dicom_slide(folder / "dicom", COLOUR)
    (made / "section_volume_0.dcm").rename(folder / "slide.dcm")
    for rest in made.iterdir():
        rest.unlink()
    made.rmdir()


def _tables(folder: Path) -> None:
    import openpyxl
    import pyarrow
    from pyarrow import parquet

    (folder / "marks.csv").write_text(MARKS)
    (folder / "marks.csv.gz").write_bytes(gzip.compress(MARKS.encode()))
    (folder / "pairs.csv").write_text("id,moving,fixed,moving_plane\na,a.png,b.png,max\nb,c.png,d.png,\n")
    (folder / "marks.fcsv").write_text(FCSV)
    (folder / "marks.mrk.json").write_text(json.dumps(MARKUPS))
    book = openpyxl.Workbook()
    for line in MARKS.splitlines():
        book.active.append(line.split(","))
    book.save(folder / "marks.xlsx")
    columns = {"geometry": [_well_known(RING), _well_known(RING)], "name": ["a", "b"]}
    geo = {"version": "1.0.0", "primary_column": "geometry"}
    geo["columns"] = {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"]}}
    table = pyarrow.table(columns).replace_schema_metadata({"geo": json.dumps(geo)})
    parquet.write_table(table, folder / "outlines.parquet")


def _well_known(ring: list[list[float]]) -> bytes:
    import shapely

    return bytes(shapely.to_wkb(shapely.Polygon(ring)))


def _annotations(folder: Path) -> None:
    text = json.dumps(OUTLINES)
    (folder / "outlines.geojson").write_text(text)
    (folder / "outlines.geojson.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(folder / "outlines.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("outlines.geojson", text)
    (folder / "imagescope.xml").write_text(IMAGESCOPE)
    (folder / "asap.xml").write_text(ASAP)
    write_annotations(folder / "regions.zip", OUTLINES, "imagej")
    write_annotations(folder / "region.roi", OUTLINES["features"][0], "imagej")  # type: ignore[index]


GROUPS: tuple[Callable[[Path], None], ...] = (_tiffs, _pictures, _volumes, _microscopes, _tables, _annotations)


def write_seeds(folder: Path) -> list[Path]:
    """One file of each form in ``folder``; returns those that a user names, without what lies beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for write in GROUPS:
        write(folder)
    return sorted(file for file in folder.iterdir() if file.suffix != ".hdr")
