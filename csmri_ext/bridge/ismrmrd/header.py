"""The part of the ISMRMRD header that fastMRI files use: matrix sizes and where zero-padded k-space begins and ends.

Schema: https://ismrmrd.readthedocs.io, namespace http://www.ismrm.org/ISMRMRD. Header x is the readout, our ny.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

NAMESPACE = "http://www.ismrm.org/ISMRMRD"


@dataclass(frozen=True)
class IsmrmrdHeader:
    """Sizes of the first encoding; None where the header does not say.

    Attributes
    ----------
    encoding_size, recon_size
        ``(x, y, z)`` of the encoded and the reconstructed matrix.
    padding
        ``(left, right)``: acquired columns of k-space are ``left <= column < right``, the others are zero padding.
    trajectory
        ``cartesian``, ``radial``, ``spiral``...
    readout_fov
        Field of view along the readout in mm, encoded and reconstructed.
    calibration
        ``embedded``, ``interleaved``, ``separate``, ``external``: where the calibration lines of parallel imaging are.
    """

    encoding_size: tuple[int, int, int] | None = None
    recon_size: tuple[int, int, int] | None = None
    padding: tuple[int, int] | None = None
    trajectory: str | None = None
    readout_fov: tuple[float, float] | None = None
    calibration: str | None = None


def parse_header(xml: str | bytes) -> IsmrmrdHeader:
    """Parse an ISMRMRD header, in any namespace; missing fields become None.

    ``left = encoded y // 2 - center`` and ``right = left + maximum + 1``, with the limits of the first phase-encode
    direction (kspace_encoding_step_1), as in fastMRI's data loader.

    Parameters
    ----------
    xml
        The header document.

    Raises
    ------
    ValueError
        The document is not XML, a number in it is none, or a size is below 1.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ValueError(f"the ISMRMRD header is not XML: {error}") from error

    def number(path: str) -> int | None:
        element = root.find("/".join(f"{{*}}{name}" for name in f"encoding/{path}".split("/")))
        if element is None or not (element.text or "").strip():
            return None
        try:
            return int(element.text or "")
        except ValueError:
            raise ValueError(f"ISMRMRD header: encoding/{path} is {element.text!r}, not a whole number") from None

    def matrix_size(space: str) -> tuple[int, int, int] | None:
        x, y, z = (number(f"{space}/matrixSize/{axis}") for axis in "xyz")
        if any(size is not None and size < 1 for size in (x, y, z)):
            raise ValueError(f"ISMRMRD header: encoding/{space}/matrixSize is {x} x {y} x {z}, sizes start at 1")
        return None if x is None or y is None else (x, y, 1 if z is None else z)

    encoding_size = matrix_size("encodedSpace")
    center = number("encodingLimits/kspace_encoding_step_1/center")
    maximum = number("encodingLimits/kspace_encoding_step_1/maximum")
    padding = None
    if encoding_size and center is not None and maximum is not None:
        left = encoding_size[1] // 2 - center
        padding = (left, left + maximum + 1)

    def word(path: str) -> str | None:
        element = root.find("/".join(f"{{*}}{name}" for name in f"encoding/{path}".split("/")))
        return None if element is None else (element.text or "").strip().lower() or None

    fields_of_view = [word(f"{space}/fieldOfView_mm/x") for space in ("encodedSpace", "reconSpace")]
    try:
        encoded_mm, recon_mm = (float(text) if text else 0.0 for text in fields_of_view)
    except ValueError:
        encoded_mm = recon_mm = 0.0
    return IsmrmrdHeader(
        encoding_size,
        matrix_size("reconSpace"),
        padding,
        word("trajectory"),
        (encoded_mm, recon_mm) if encoded_mm and recon_mm else None,
        word("parallelImaging/calibrationMode"),
    )


def make_header(
    encoding_size: tuple[int, int],
    recon_size: tuple[int, int],
    n_slices: int,
    n_coils: int,
    padding: tuple[int, int] | None = None,
) -> str:
    """Make the header of a Cartesian acquisition that `parse_header` and fastMRI's data loader read back.

    Parameters
    ----------
    encoding_size, recon_size
        ``(ny, nx)`` of k-space and ``(h, w)`` of the image.
    n_slices, n_coils
        Counts.
    padding
        ``(left, right)`` as in `IsmrmrdHeader`; default: every column was acquired.

    Returns
    -------
        The document. Pixels are written as 1 mm because an `Acquisition` does not know their size, and the resonance
        frequency, which the schema requires, as 0.
    """
    left, right = padding or (0, encoding_size[1])
    element = ElementTree.Element
    add = ElementTree.SubElement

    def add_number(parent: ElementTree.Element, name: str, value: int) -> None:
        add(parent, name).text = str(value)

    def add_space(parent: ElementTree.Element, name: str, size: tuple[int, int]) -> None:
        space = add(parent, name)
        for child in ("matrixSize", "fieldOfView_mm"):
            box = add(space, child)
            for axis, value in zip("xyz", (*size, 1), strict=True):
                add_number(box, axis, value)

    def add_limit(parent: ElementTree.Element, name: str, maximum: int, center: int) -> None:
        limit = add(parent, name)
        for child, value in (("minimum", 0), ("maximum", maximum), ("center", center)):
            add_number(limit, child, value)

    root = element("ismrmrdHeader", xmlns=NAMESPACE)
    add_number(add(root, "acquisitionSystemInformation"), "receiverChannels", n_coils)
    add_number(add(root, "experimentalConditions"), "H1resonanceFrequency_Hz", 0)
    encoding = add(root, "encoding")
    add_space(encoding, "encodedSpace", encoding_size)
    add_space(encoding, "reconSpace", recon_size)
    limits = add(encoding, "encodingLimits")
    add_limit(limits, "kspace_encoding_step_1", right - left - 1, encoding_size[1] // 2 - left)
    add_limit(limits, "slice", n_slices - 1, n_slices // 2)
    add(encoding, "trajectory").text = "cartesian"
    return ElementTree.tostring(root, encoding="unicode")
