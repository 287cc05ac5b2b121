"""The formats: what opens what, which types belong to which kind, which names fit which content, what browsers play.

Data, and the few questions asked of it.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from archive.media import clean

# Decoders of still pictures that may run: Pillow's name, its module, the types (libmagic's names) that it is tried on
# first. EPS, WMF and others that start programs are not among them.
IMAGE_DECODERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "JPEG": ("JpegImagePlugin", ("image/jpeg",)),
    "PNG": ("PngImagePlugin", ("image/png", "image/apng")),
    "GIF": ("GifImagePlugin", ("image/gif",)),
    "WEBP": ("WebPImagePlugin", ("image/webp",)),
    "TIFF": ("TiffImagePlugin", ("image/tiff",)),
    "BMP": ("BmpImagePlugin", ("image/bmp", "image/x-ms-bmp")),
    "DIB": ("BmpImagePlugin", ()),
    "AVIF": ("AvifImagePlugin", ("image/avif",)),
    "JPEG2000": ("Jpeg2KImagePlugin", ("image/jp2", "image/jpx")),
    "ICO": ("IcoImagePlugin", ("image/vnd.microsoft.icon", "image/x-icon")),
    "PPM": (
        "PpmImagePlugin",
        ("image/x-portable-pixmap", "image/x-portable-greymap", "image/x-portable-bitmap"),
    ),
    "QOI": ("QoiImagePlugin", ("image/qoi",)),
}

# ffmpeg's demuxers that may run. Never: playlists and scripts (hls, dash, concat, image2, lavfi, sdp ...).
AV_DEMUXERS = [
    "mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "wav", "w64", "mp3", "flac", "aac",
    "amr", "caf", "aiff", "mxf", "rm", "dv", "au", "ivf", "h264", "hevc", "m4v", "ac3", "eac3", "dts", "wv", "ape",
    "tta", "nut", "jpegxl_pipe", "tiff_pipe",
]  # fmt: skip

PICTURE_TYPES = {
    "JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp",
    "TIFF": "image/tiff", "BMP": "image/bmp", "DIB": "image/bmp", "AVIF": "image/avif", "JPEG2000": "image/jp2",
    "ICO": "image/x-icon", "PPM": "image/x-portable-anymap", "QOI": "image/qoi",
}  # fmt: skip

# One type, one name: what libmagic and strangers call it
_SAME = {
    "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png", "image/x-ms-bmp": "image/bmp",
    "image/vnd.microsoft.icon": "image/x-icon", "image/heif": "image/heic", "image/heic-sequence": "image/heic",
    "image/heif-sequence": "image/heic", "image/x-portable-pixmap": "image/x-portable-anymap",
    "image/x-portable-greymap": "image/x-portable-anymap", "image/x-portable-bitmap": "image/x-portable-anymap",
    "video/x-m4v": "video/mp4", "video/mp2t": "video/mp2t", "video/x-mpegts": "video/mp2t", "video/avi": "video/x-msvideo",
    "video/msvideo": "video/x-msvideo", "video/mp2p": "video/mpeg", "video/3gpp2": "video/3gpp",
    "audio/x-wav": "audio/wav", "audio/wave": "audio/wav", "audio/vnd.wave": "audio/wav", "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac", "audio/x-m4a": "audio/mp4", "audio/m4a": "audio/mp4", "audio/x-aiff": "audio/aiff",
    "audio/aac": "audio/aac", "audio/x-hx-aac-adts": "audio/aac", "audio/amr": "audio/amr", "audio/opus": "audio/ogg",
    "video/x-matroska-3d": "video/x-matroska", "audio/x-matroska": "video/x-matroska", "application/ogg": "video/ogg",
    "application/x-matroska": "video/x-matroska", "video/x-ms-wmv": "video/x-ms-asf", "audio/x-ms-wma": "video/x-ms-asf",
    "application/x-zip-compressed": "application/zip", "text/xml": "application/xml",
}  # fmt: skip

# libmagic's word is enough for these: no decoder is started on them
NOT_MEDIA = frozenset({
    "application/pdf", "application/zip", "application/x-7z-compressed", "application/x-rar", "application/gzip",
    "application/x-tar", "application/x-xz", "application/x-bzip2", "application/zstd", "application/msword",
    "application/rtf", "application/json", "application/xml", "application/javascript", "application/x-dosexec",
    "application/x-executable", "application/x-pie-executable", "application/x-sharedlib", "application/x-sqlite3",
    "application/epub+zip", "application/x-ole-storage", "application/CDFV2", "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint", "application/vnd.ms-outlook", "application/postscript", "message/rfc822",
    "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "image/svg+xml", "image/svg",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "application/java-archive",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation", "application/x-apple-diskimage",
})  # fmt: skip
_DOCUMENTS = ("text/", "message/", "application/pdf", "application/msword", "application/rtf", "application/epub",
              "application/vnd.o", "application/vnd.ms-", "application/x-ole", "application/CDFV2",
              "application/postscript", "application/json", "application/xml")  # fmt: skip

# Pictures that are programs or need a darkroom: kept, never drawn
NOT_RENDERED = frozenset({
    "image/svg+xml", "image/x-canon-cr2", "image/x-canon-crw", "image/x-nikon-nef", "image/x-sony-arw",
    "image/x-olympus-orf", "image/x-panasonic-raw", "image/x-fuji-raf", "image/x-adobe-dng", "image/vnd.dwg",
    "image/wmf", "image/emf", "image/x-eps",
})  # fmt: skip
NO_DECODER = {
    "image/heic": "HEIC pictures cannot be decoded by the programs on this machine; their metadata were read.",
}

_NAMES: dict[str, tuple[str, ...]] = {
    "image/jpeg": ("jpg", "jpeg", "jpe", "jfif", "mpo", "thm"), "image/png": ("png", "apng"), "image/gif": ("gif",),
    "image/webp": ("webp",), "image/tiff": ("tif", "tiff"), "image/bmp": ("bmp", "dib"), "image/avif": ("avif", "avifs"),
    "image/heic": ("heic", "heif", "hif"), "image/jp2": ("jp2", "j2k", "jpx", "jpf", "j2c"), "image/jxl": ("jxl",),
    "image/x-icon": ("ico", "cur"), "image/svg+xml": ("svg",), "image/x-portable-anymap": ("ppm", "pgm", "pbm", "pnm"),
    "video/mp4": ("mp4", "m4v", "mov", "3gp", "3g2", "m4a", "m4b", "f4v", "qt", "insv", "lrv"),
    "video/quicktime": ("mov", "qt", "mp4", "m4v"), "video/3gpp": ("3gp", "3g2", "mp4", "amr", "m4a"),
    "audio/mp4": ("m4a", "m4b", "mp4", "aac", "3gp", "m4r"), "video/x-matroska": ("mkv", "mka", "mks", "webm"),
    "video/webm": ("webm", "mkv"), "audio/webm": ("webm", "weba", "mka"), "audio/matroska": ("mka", "mkv"),
    "video/x-msvideo": ("avi",), "video/mp2t": ("ts", "mts", "m2ts", "m2t"), "video/x-flv": ("flv", "f4v"),
    "video/mpeg": ("mpg", "mpeg", "m2v", "mpe", "vob", "m1v", "dat"), "video/x-ms-asf": ("wmv", "asf", "wma"),
    "video/ogg": ("ogv", "ogg", "ogx"), "audio/ogg": ("ogg", "oga", "opus", "spx"), "audio/mpeg": ("mp3", "mp2", "mpga"),
    "audio/wav": ("wav", "wave"), "audio/flac": ("flac",), "audio/aac": ("aac",), "audio/amr": ("amr", "3gp", "3ga"),
    "audio/aiff": ("aif", "aiff", "aifc"), "audio/x-caf": ("caf",), "application/mxf": ("mxf",),
    "application/pdf": ("pdf",), "application/zip": ("zip", "jar", "apk", "kmz", "docx", "xlsx", "pptx", "odt", "epub"),
    "application/x-rar": ("rar",), "application/x-7z-compressed": ("7z",), "application/x-dosexec": ("exe", "dll", "scr"),
}  # fmt: skip
_TYPE_OF_NAME = {name: kind for kind, names in reversed(_NAMES.items()) for name in names}


def media_type(told: str, *, picture_format: str, ffprobe: dict[str, Any], exif: dict[str, Any]) -> str:
    """One name for the type: what a decoder found goes before what libmagic guessed, as decoders need be right."""
    guess = (
        _SAME.get(told.lower(), told.lower())
        if "/" in told and " " not in told
        else "application/octet-stream"
    )
    if picture_format in PICTURE_TYPES:
        raw = {guess, str(exif.get("File:MIMEType", "")).lower()} & NOT_RENDERED
        return min(raw) if raw else PICTURE_TYPES[picture_format]
    container = clean.mapping(ffprobe.get("format"))
    name = str(container.get("format_name", "")).split(",")[0]
    if not name:
        named = str(exif.get("File:MIMEType", "")).lower()
        weak = guess in ("application/octet-stream", "image/svg")
        return _SAME.get(named, named) if weak and named.startswith("image/") else guess
    tags = clean.mapping(container.get("tags"))
    if name == "mov":
        brand = str(tags.get("major_brand", "")).strip().lower()
        return (
            "video/quicktime"
            if brand in ("qt", "")
            else "video/3gpp"
            if brand.startswith("3g")
            else "video/mp4"
        )
    if name == "matroska":
        return "video/webm" if guess.endswith("/webm") else "video/x-matroska"
    known = {
        "avi": "video/x-msvideo", "mpegts": "video/mp2t", "mpeg": "video/mpeg", "mpegvideo": "video/mpeg",
        "flv": "video/x-flv", "asf": "video/x-ms-asf", "ogg": "video/ogg", "wav": "audio/wav", "w64": "audio/wav",
        "mp3": "audio/mpeg", "flac": "audio/flac", "aac": "audio/aac", "amr": "audio/amr", "caf": "audio/x-caf",
        "aiff": "audio/aiff", "mxf": "application/mxf", "ac3": "audio/ac3", "eac3": "audio/eac3", "au": "audio/basic",
        "jpegxl_pipe": "image/jxl", "tiff_pipe": "image/tiff", "h264": "video/h264", "hevc": "video/h265", "m4v": "video/mpeg", "dv": "video/dv",
        "ivf": "video/x-ivf", "rm": "video/vnd.rn-realmedia", "nut": "video/x-nut", "wv": "audio/x-wavpack",
        "ape": "audio/x-ape", "tta": "audio/x-tta", "dts": "audio/vnd.dts",
    }  # fmt: skip
    return known.get(name, guess)


def kind_of(media_type: str) -> str:
    """image, video, audio, document or other."""
    top = media_type.partition("/")[0]
    if top in ("image", "video", "audio"):
        return top
    if media_type == "application/mxf":
        return "video"
    return "document" if media_type.startswith(_DOCUMENTS) else "other"


def ending(file_name: str) -> str:
    """What the name ends in, small and without its dot, if it is the ending of a type that we know; else empty."""
    found = PurePath(file_name.replace("\\", "/")).suffix[1:].lower()
    return found if found in _TYPE_OF_NAME else ""


def disguise(media_type: str, *, file_name: str = "", declared_type: str = "") -> str:
    """A sentence if the name or the declared type is that of another format; empty if they agree or say nothing."""
    end = ending(file_name)
    if end and end not in _NAMES.get(media_type, ()):
        if not (media_type.startswith("application/vnd.") and _TYPE_OF_NAME[end] == "application/zip"):
            return f"The name ends in .{end}, but the content is {media_type}."
    declared = declared_type.partition(";")[0].strip().lower()
    declared = _SAME.get(declared, declared)
    if (
        declared in _NAMES
        and declared != media_type
        and not set(_NAMES[declared]) & set(_NAMES.get(media_type, ()))
    ):
        return f"It was declared to be {declared}, but the content is {media_type}."
    return ""


# What today's browsers on any system play without help: (container, its media types), video codecs, audio codecs
_BROWSER = (
    (("video/mp4",), {"h264"}, {"aac", "mp3", ""}),
    (("video/webm",), {"vp8", "vp9"}, {"opus", "vorbis", ""}),
    (("audio/mp4",), {""}, {"aac", "mp3"}),
    (("audio/mpeg",), {""}, {"mp3"}),
    (("audio/wav",), {""}, {"pcm_s16le", "pcm_u8"}),
    (("audio/flac",), {""}, {"flac"}),
)
_BROWSER_PIXELS = ("yuv420p", "yuvj420p", "")


def browser_plays(media_type: str, video_codec: str, audio_codec: str, pixel_format: str) -> bool:
    """Whether every common browser plays this combination."""
    return pixel_format in _BROWSER_PIXELS and any(
        media_type in types and video_codec in videos and audio_codec in audios
        for types, videos, audios in _BROWSER
    )
