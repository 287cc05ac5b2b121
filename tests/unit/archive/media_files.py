"""Small media files made on the spot: honest ones with ffmpeg and Pillow, and hostile ones by hand."""

import datetime
import io
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image, ImageDraw


def photo(width=640, height=480, mode="RGB"):
    """A picture with detail everywhere, so that blur and damage can be measured."""
    picture = Image.effect_noise((width, height), 80).convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width // 2, height // 2), fill=(200, 30, 30))
    draw.rectangle((width // 2, height // 2, width, height), fill=(20, 40, 190))
    return picture.convert(mode)


def encoded(picture, form="JPEG", **options):
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def video(path: Path, *options, seconds=3, size="320x240", audio=True):
    """Encode ffmpeg's moving test picture; options are the encoder's."""
    sound = ["-f", "lavfi", "-i", f"sine=440:duration={seconds}"] if audio else []
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}"]
    chosen = list(options) or [
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "25",
        *(["-c:a", "aac"] * audio),
    ]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *sound, *chosen, path], check=True)
    return path


def sound(path: Path, *options, seconds=2):
    source = ["-f", "lavfi", "-i", f"sine=440:duration={seconds}"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *options, path], check=True)
    return path


def png_claiming(width, height):
    """A sound PNG header of any size, with almost nothing behind it."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def gif_of(frames, width=16, height=16):
    """An animation that costs its maker a few bytes a frame, on a canvas of any size."""
    one = encoded(Image.new("L", (16, 16)), "GIF", optimize=False)
    picture = one[one.index(b"\x2c\0\0\0\0\x10\0\x10\0") : -1]
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + (b"\x21\xf9\x04\0\x01\0\0\0" + picture) * frames + b"\x3b"


def zip_of(name="a.txt", data=b"hello"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, data)
    return out.getvalue()


def heic_header():
    brands = b"ftypheic\0\0\0\0mif1heic"
    return (
        struct.pack(">I", 4 + len(brands))
        + brands
        + struct.pack(">I4s", 12, b"meta")
        + b"\0" * 4
        + b"\0" * 400
    )


def c2pa_signed(picture: bytes, source_type: str) -> tuple[bytes, bytes]:
    """A JPEG signed by somebody nobody knows, who says what made it; and the certificate that vouches for the signer."""
    import c2pa

    ends = datetime.datetime(2025, 1, 1), datetime.datetime(2045, 1, 1)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "signer")}
    names = {
        n: x509.Name([x509.NameAttribute(oid, n) for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)])
        for n in keys
    }
    made = {}
    for name, key in keys.items():
        root = name == "root"
        uses = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        uses |= {"encipher_only": False, "decipher_only": False, "crl_sign": root, "key_cert_sign": root}
        certificate = (
            x509.CertificateBuilder(names["root"], names[name], key.public_key(), 1 + root, *ends)
            .add_extension(x509.BasicConstraints(ca=root, path_length=None), True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["root"].public_key()), False
            )
            .add_extension(x509.KeyUsage(digital_signature=not root, **uses), True)
        )
        if not root:
            certificate = certificate.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False
            )
        made[name] = certificate.sign(keys["root"], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = keys["signer"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    act = {"action": "c2pa.created", "digitalSourceType": source_type}
    said = {
        "claim_generator_info": [{"name": "Test"}],
        "format": "image/jpeg",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [act]}}],
    }
    chain = c2pa.C2paSignerInfo(b"es256", made["signer"] + made["root"], private, None)
    plain = c2pa.Context(c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}}))
    out = io.BytesIO()
    with c2pa.Signer.from_info(chain) as signer, c2pa.Builder(said, plain) as builder:
        builder.sign(signer, "image/jpeg", io.BytesIO(picture), out)
    return out.getvalue(), made["root"]


def with_thumbnail(picture: Image.Image, small: Image.Image) -> bytes:
    """A JPEG whose EXIF holds a small picture: TIFF header, an empty first directory, then the thumbnail's."""
    inner = io.BytesIO()
    small.save(inner, "JPEG", quality=80)
    data = inner.getvalue()
    entries = [(0x0103, 3, 6), (0x0201, 4, 14 + 2 + 3 * 12 + 4), (0x0202, 4, len(data))]
    second = (
        struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *e[:2], 1, e[2]) for e in entries) + bytes(4)
    )
    exif = b"Exif\0\0II*\0" + struct.pack("<IHI", 8, 0, 14) + second + data
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()
