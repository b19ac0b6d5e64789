"""Kinds of files by their names: image formats that are not read and what to do, and files that systems leave behind.

The suffixes that are read are those of :func:`googlenet.images.pixels.suffixes`.
"""

from __future__ import annotations

import os

_RAW = "crw cr2 cr3 nef nrw arw srf sr2 dng orf rw2 raf pef srw 3fr fff iiq mos mrw x3f erf kdc dcr rwl raw"
_ADVICE = {
    _RAW: "export camera raw files as JPEG or TIFF",
    "svg svgz eps ai emf wmf cdr": "export drawings as PNG",
    "psd psb xcf kra clip afphoto ora": "export files of an image editor as PNG",
    "dcm dicom nii mha mhd nrrd": "export medical images as PNG or TIFF, one file each",
    "czi nd2 lif oib oif vsi svs ndpi mrxs scn lsm": "export microscope files as PNG or TIFF, one file each",
    "jxl jp2 j2k jpf jpx jpc jls jxr wdp ppm pgm pbm pnm pfm pam tga icb pcx ico icns cur dds exr hdr pic qoi sgi rgb "
    "bpg flif fits fit fts xbm xpm dib hif heics avifs apng mng pict pct ras": "convert to JPEG or PNG",
}
_NOT_READ = {f".{suffix}": advice for kinds, advice in _ADVICE.items() for suffix in kinds.split()}
# Files whose first page, a small preview, opens as a TIFF: using it would be silently wrong.
PREVIEWED = frozenset(f".{suffix}" for suffix in _RAW.split())

_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "picasa.ini"})
_SYSTEM_FOLDERS = frozenset(
    {
        "__macosx", "lost+found", "__pycache__", "system volume information", "$recycle.bin", "recycler",
        "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@eadir", "@tmp", "@sharebin",
    }
)  # fmt: skip


def suffix_of(name: str) -> str:
    """Return the suffix in lower case with its dot; ``""`` for a name without one, or one that begins with a dot.

    >>> suffix_of("a/IMG.1.JPG"), suffix_of("v1.2/readme"), suffix_of(".bashrc")
    ('.jpg', '', '')
    """
    last = name[max(name.rfind("/"), name.rfind(os.sep)) + 1 :]
    return last[last.rfind(".") :].lower() if last.rfind(".") > 0 else ""


def advice_for(name: str) -> str | None:
    """Return what to do with an image of a format that is not read; ``None`` for any other suffix.

    >>> advice_for("IMG_1.CR2"), advice_for("notes.txt")
    ('export camera raw files as JPEG or TIFF', None)
    """
    return _NOT_READ.get(suffix_of(name))


def is_left_by_a_system(name: str, is_folder: bool) -> bool:
    """Whether a system made it: thumbnails of a NAS, trash, resource forks, checkpoints of a notebook.

    >>> is_left_by_a_system("@eaDir", is_folder=True), is_left_by_a_system("Thumbs.db", is_folder=False)
    (True, True)
    """
    return name.lower() in (_SYSTEM_FOLDERS if is_folder else _SYSTEM_FILES)
