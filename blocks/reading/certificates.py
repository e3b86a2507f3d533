"""Certificates in PEM files, read by `cryptography`."""

from typing import TYPE_CHECKING

from blocks.checking.certificates import Certificate, Certificates
from blocks.checking.findings import named
from blocks.reading.places import files_in, locate, name_below

if TYPE_CHECKING:
    from cryptography import x509

SUFFIXES = frozenset({".pem", ".crt", ".cer"})
MOST_FILES = 1000
# A chain has three or four; a bundle of all authorities has 150.
MOST_IN_ONE_FILE = 200


def read_certificates(source: str, *, max_bytes: int) -> Certificates:
    """Every certificate below a folder, by its path there; a file that cannot be read is named."""
    from cryptography import x509  # 60 ms; most checks have no certificates

    folder, found, broken, notes = locate(source), list[Certificate](), dict[str, str](), list[str]()
    files = files_in(source, SUFFIXES, max_files=MOST_FILES + 1)
    if len(files) > MOST_FILES:
        notes.append(f"Only the first {MOST_FILES} certificate files were read.")
    for path in files[:MOST_FILES]:
        name = name_below(folder, path)
        try:
            with path.open("rb") as file:
                read = x509.load_pem_x509_certificates(file.read(max_bytes))
            if len(read) > MOST_IN_ONE_FILE:
                notes.append(f"Of the certificates in {named(name)} only the first {MOST_IN_ONE_FILE} were read.")
            some = read[:MOST_IN_ONE_FILE]
            found += [_certificate(name, number, one) for number, one in enumerate(some, start=1)]
        except (ValueError, OSError) as error:  # cryptography has ValueErrors of many words for a broken file
            broken[name] = str(error).partition(".")[0].partition(": ")[0] or type(error).__name__
    return Certificates(found=tuple(found), broken=broken, notes=tuple(notes))


def _certificate(file: str, position: int, read: "x509.Certificate") -> Certificate:
    return Certificate(
        file=file,
        position=position,
        name=_common_name(read.subject),
        issuer=_common_name(read.issuer),
        begins=read.not_valid_before_utc,
        ends=read.not_valid_after_utc,
    )


def _common_name(name: "x509.Name") -> str:
    from cryptography.x509.oid import NameOID

    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
