"""Files by path or URI: local, s3:// and gs://, through pyarrow, with an end to every wait.

Credentials come from where the cloud's own tools keep them (environment, profile, instance role), never from the
URI: what a run reads from is written into its records. A bucket's region is ``?region=``, else the profile's; a
store that is not Amazon's or Google's is ``?endpoint_override=host:port`` (and ``scheme=http``); a public bucket
is ``s3://anonymous@bucket/...``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

import pyarrow as pa
from pyarrow import fs

from raysubset.errors import DataError, DatasetNotFoundError, OptionsError, StorageError

CONNECT_S, REQUEST_S, ATTEMPTS = 5.0, 30.0, 3  # S3: seconds to connect, of silence, and tries of a request
GCS_RETRY_S = 15.0  # Google's client tries again for so long
SCHEMES = ("file", "s3", "gs", "gcs")
ALLOWED = {"s3": {"region", "endpoint_override", "scheme"}, "gs": {"endpoint_override", "scheme"}}


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder.

    Attributes:
        uri: Path or URI, as it was given.
        path: Of the file in its filesystem.
    """

    uri: str
    path: str

    @classmethod
    def of(cls, place: str | Path) -> Location:
        """Take a local path, or a URI.

        Raises:
            OptionsError: The scheme is not known, or the URI carries credentials or a parameter that is not.
        """
        text = str(place)
        if "://" not in text:
            return cls("", str(Path(text).expanduser().absolute()))
        parts = urlsplit(text)
        if parts.scheme not in SCHEMES:
            raise OptionsError(f"{shown(text)}: scheme {parts.scheme!r}, known are {', '.join(SCHEMES)}.")
        if parts.scheme == "file":
            return cls("", parts.path)
        _check(parts)
        return cls(text, (parts.hostname or "") + parts.path.rstrip("/"))

    def at(self, path: str) -> Location:
        """Return another place in the same filesystem."""
        return Location(self.uri, path)

    @property
    def is_remote(self) -> bool:
        """Whether it is reached over a network."""
        return bool(self.uri)

    def __str__(self) -> str:
        """Name it for people: scheme, bucket and path, no parameters."""
        return f"{urlsplit(self.uri).scheme}://{self.path}" if self.uri else self.path

    def info(self) -> fs.FileInfo:
        """Return what is known of it: its type (NotFound too) and size.

        Raises:
            StorageError: It cannot be reached.
        """
        with reaching(self):
            return self.filesystem().get_file_info(self.path)

    def listing(self) -> list[fs.FileInfo]:
        """Return all files and folders below it, in no order.

        Raises:
            DatasetNotFoundError: There is no such folder.
            StorageError: It cannot be reached.
        """
        try:
            with reaching(self):
                return list(self.filesystem().get_file_info(fs.FileSelector(self.path, recursive=True)))
        except FileNotFoundError as error:
            raise DatasetNotFoundError(f"There is no folder {self}.") from error

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """Open it for reading.

        Raises:
            DatasetNotFoundError: There is no such file.
            StorageError: It cannot be reached.
            DataError: It is local and cannot be read.
        """
        try:
            with reaching(self), self.filesystem().open_input_file(self.path) as file:
                yield file
        except FileNotFoundError as error:
            raise DatasetNotFoundError(f"There is no file {self}.") from error

    def filesystem(self) -> fs.FileSystem:
        """Return what reads and writes there, see `filesystem`."""
        return filesystem(self.uri)


@contextmanager
def reaching(place: Location) -> Iterator[None]:
    """Say what could not be reached or read, and that it was this place.

    A remote store answers with one kind of error whether it cannot be reached, refuses or sends damage.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (DataError, StorageError):
        raise
    except OSError as error:
        if place.is_remote:
            raise StorageError(
                f"{place} cannot be read: {error}. Looked for a network, the bucket's region (?region=), "
                "credentials in the environment and the spelling, in this order of likelihood."
            ) from error
        raise DataError(f"{place}: cannot be read ({error}).") from error
    except pa.ArrowException as error:
        raise DataError(f"{place}: damaged ({error}).") from error


def shown(uri: str) -> str:
    """Return a URI without what may be secret in it."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme and parts.netloc else uri


def _check(parts: SplitResult) -> None:
    if parts.password or parts.username not in (None, "anonymous"):
        raise OptionsError(
            f"{shown(parts.geturl())}: credentials do not belong in a URI, which is written into records; give "
            "them in the environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS) or a profile."
        )
    known = ALLOWED["gs" if parts.scheme == "gcs" else parts.scheme]
    if unknown := sorted(dict(parse_qsl(parts.query)).keys() - known):
        raise OptionsError(
            f"{shown(parts.geturl())}: unknown parameter {unknown[0]!r}; known are {', '.join(sorted(known))}."
        )


@lru_cache(maxsize=8)
def filesystem(uri: str) -> fs.FileSystem:
    """Return the filesystem of a checked URI; making one costs up to a second (credentials are looked for)."""
    if not uri:
        return fs.LocalFileSystem()
    parts = urlsplit(uri)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    options["anonymous"] = parts.username == "anonymous"
    if parts.scheme == "s3":
        retry = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
        return fs.S3FileSystem(
            connect_timeout=CONNECT_S, request_timeout=REQUEST_S, retry_strategy=retry, **options
        )
    return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=GCS_RETRY_S), **options)
