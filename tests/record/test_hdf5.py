"""HDF5 files in memory."""

from __future__ import annotations

from neurosim_ep.record.hdf5 import image, new_image


def test_two_new_files_are_open_at_once() -> None:
    """As of two runs in threads of one process."""
    with new_image() as one, new_image() as other:
        one["value"], other["value"] = 1, 2
        one.flush()
        other.flush()
        contents = [file.id.get_file_image() for file in (one, other)]
    for content, value in zip(contents, (1, 2), strict=True):
        with image(content) as file:
            assert file["value"][()] == value
