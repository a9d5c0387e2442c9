"""Small files in the forms of microscopes, for which no program but theirs writes any: Leica's LIF and Nikon's ND2.

They hold what a reader needs, after the published descriptions: of LIF the XML header and the blocks of memory, of ND2
(version 2.1) its chunks, the map of them at the end, and the metadata as XML.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

Array = np.ndarray[Any, Any]
DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "M": 10}
SIGNATURES = (
    b"ND2 FILE SIGNATURE CHUNK NAME01!",
    b"ND2 FILEMAP SIGNATURE NAME 0001!",
    b"ND2 CHUNK MAP SIGNATURE 0000001!",
)


@dataclass(frozen=True)
class LifImage:
    """An image of a LIF.

    Attributes:
        name: of the image.
        pixels: C-contiguous, with an axis for each letter of ``axes``.
        axes: of X, Y, Z, T, M (tiles) and C (channels), the last one running fastest.
        step: (row, col) micrometres from pixel to pixel, or None.
        dyes: of the channels.
        tags: of the channels: 0, or 1, 2, 3 of red, green, blue.
        lookups: names of the colours that the channels are shown in.
        attachment: XML of the settings of the microscope.
    """

    name: str
    pixels: Array
    axes: str = "CYX"
    step: tuple[float, float] | None = (0.5, 0.5)
    dyes: Sequence[str] = ()
    tags: Sequence[int] = ()
    lookups: Sequence[str] = ()
    attachment: str = ""


def write_lif(path: Path, *images: LifImage) -> Path:
    """A LIF of some images in a project; gives ``path``."""
    elements = "".join(_lif_element(number, image) for number, image in enumerate(images))
    header = (
        '<LMSDataContainerHeader Version="2"><Element Name="project" UniqueID="0"><Data/><Memory Size="0" '
        f'MemoryBlockID="MemBlock_p"/><Children>{elements}</Children></Element></LMSDataContainerHeader>'
    )
    content = struct.pack("<IIBI", 0x70, 2 * len(header) + 5, 0x2A, len(header)) + header.encode("utf-16-le")
    for number, image in enumerate(images):
        name, data = f"MemBlock_{number}".encode("utf-16-le"), np.ascontiguousarray(image.pixels).tobytes()
        content += struct.pack("<IIBQBI", 0x70, len(name) + 14, 0x2A, len(data), 0x2A, len(name) // 2) + name + data
    path.write_bytes(content)
    return path


def _lif_element(number: int, image: LifImage) -> str:
    pixels = np.ascontiguousarray(image.pixels)
    steps = dict(zip(image.axes, pixels.strides, strict=True))
    lengths = dict(zip(image.axes, pixels.shape, strict=True))
    micrometres = dict(zip("YX", image.step or (0.0, 0.0), strict=True))
    channels = ""
    for channel in range(lengths.get("C", 1)):
        dye = quoteattr(image.dyes[channel])[1:-1] if image.dyes else ""
        key = f"<ChannelProperty><Key>DyeName</Key><Value>{dye}</Value></ChannelProperty>" if dye else ""
        channels += (
            f'<ChannelDescription DataType="{int(pixels.dtype.kind == "f")}" Resolution="{8 * pixels.itemsize}" '
            f'ChannelTag="{image.tags[channel] if image.tags else 0}" NameOfMeasuredQuantity="" Min="0" Max="1" '
            f'Unit="" LUTName="{image.lookups[channel] if image.lookups else "Gray"}" IsLUTInverted="0" '
            f'BytesInc="{channel * steps.get("C", 0)}" BitInc="0">{key}</ChannelDescription>'
        )
    dimensions = "".join(
        f'<DimensionDescription DimID="{DIMENSIONS[axis]}" NumberOfElements="{length}" Origin="0" Unit="m" '
        f'Length="{micrometres.get(axis, 0) * 1e-6 * (length - 1)}" BytesInc="{steps[axis]}" BitInc="0"/>'
        for axis, length in lengths.items()
        if axis != "C"
    )
    return (
        f'<Element Name={quoteattr(image.name)} UniqueID="{number + 1}"><Data><Image><ImageDescription><Channels>'
        f"{channels}</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription>{image.attachment}</Image></Data>"
        f'<Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
    )


def write_nd2(
    path: Path,
    frames: Array,
    names: Sequence[str] = (),
    step: float | None = 0.5,
    loops: Sequence[tuple[str, int]] = (),
    probes: bool = True,
) -> Path:
    """An ND2 of version 2.1; gives ``path``.

    Args:
        path: of the file.
        frames: (frames, Y, X, components) of 8 or 16 bit.
        names: of the channels; none makes the components blue, green and red of a channel of colour.
        step: micrometres of a pixel; None leaves the file without.
        loops: ("Z", planes) or ("P", positions), outermost first, that the frames run through.
        probes: name the fluorescent probe of each channel.
    """
    count, height, width, components = frames.shape
    bits, planes = 8 * frames.itemsize, len(names) or 1
    each = components // planes
    attributes = {
        "uiWidth": width, "uiWidthBytes": width * components * frames.itemsize, "uiHeight": height,
        "uiComp": components, "uiBpcInMemory": bits, "uiBpcSignificant": bits, "uiSequenceCount": count,
        "eCompression": 2,
    }  # fmt: skip
    described = {
        f"a{number}": {
            "uiCompCount": each,
            "sDescription": name,
            "uiColor": 0xFF0000 >> 8 * number,
            **({"pFluorescentProbe": {"m_sName": name}} if probes else {}),
        }
        for number, name in enumerate(names or ("Brightfield",))
    }
    metadata = {
        "bCalibrated": step is not None, "dCalibration": step or 1.0,
        "sPicturePlanes": {"uiCount": planes, "sPlaneNew": described},
    }  # fmt: skip
    experiment: dict[str, Any] = {}
    for axis, length in reversed(loops):
        points = {f"i{number:010}": {"dPosX": 0.0, "dPosName": f"well {number}"} for number in range(length)}
        own = {"Points": points} if axis == "P" else {"uiCount": length, "dZStep": 1.0, "dZLow": 0.0, "dZHigh": 1.0}
        own = {**own, "uiCount": length}
        below = {"ppNextLevelEx": {"i0000000000": experiment}} if experiment else {}
        experiment = {"eType": 2 if axis == "P" else 4, "uLoopPars": own, **below}
    chunks = {"ImageAttributes!": _clx("SLxImageAttributes", attributes)}
    chunks["ImageMetadataSeq|0!"] = _clx("SLxPictureMetadata", metadata)
    if experiment:
        chunks["ImageMetadata!"] = _clx("SLxExperiment", experiment)
    chunks |= {f"ImageDataSeq|{number}!": bytes(8) + frame.tobytes() for number, frame in enumerate(frames)}
    content, places = _chunk(SIGNATURES[0], b"Ver2.1".ljust(64, b"\0"), 32), b""
    for name, data in chunks.items():
        places += name.encode() + struct.pack("QQ", len(content), len(data))
        content += _chunk(name.encode(), data, 4072)
    end = SIGNATURES[2] + struct.pack("Q", len(content))
    path.write_bytes(content + _chunk(SIGNATURES[1], places + end, 32))
    return path


def _chunk(name: bytes, data: bytes, room: int) -> bytes:
    return struct.pack("IIQ", 0x0ABECEDA, room, len(data)) + name.ljust(room, b"\0") + data


def _clx(name: str, value: Any) -> bytes:
    return f"<variant>{_clx_node(name, value)}</variant>".encode()


def _clx_node(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"<{name}>{''.join(_clx_node(key, entry) for key, entry in value.items())}</{name}>"
    kind = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}[type(value)]
    return f'<{name} runtype="{kind}" value={quoteattr(str(value).lower() if kind == "bool" else str(value))}/>'
