"""HDF5 files in memory, and what is required of one before it is read."""

from __future__ import annotations

import uuid

import h5py

INFLATED = 1100  # bytes that one compressed byte can become: Deflate's most, rounded up
SLACK = 2**16  # bytes that are allowed anyhow
OBJECTS = 2**20


def image(content: bytes, *, writable: bool = False) -> h5py.File:
    """The file with these bytes, in memory; changes reach no disk. Raises OSError where they are no HDF5 file."""
    if not content:
        raise OSError("it is empty")
    return h5py.File(h5py.h5f.open_file_image(content, int(writable)))


def new_image() -> h5py.File:
    """An empty file in memory, by a name that no other open file of the process has."""
    return h5py.File(uuid.uuid4().hex, "w", driver="core", backing_store=False)


def require_plain(file: h5py.File) -> h5py.File:
    """``file``, where every name in it is of a group or dataset of its own, once, and no dataset is larger than what is
    stored of it can be; raises ValueError otherwise. Nothing of their contents is read.
    """
    found, waiting = 0, [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            found += 1
            if found > OBJECTS or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{group.name}: {name} points elsewhere")
            node = group[name]
            if isinstance(node, h5py.Group):
                waiting.append(node)
            elif node.external or node.is_virtual or node.nbytes > INFLATED * node.id.get_storage_size() + SLACK:
                raise ValueError(f"{node.name} claims more than the file holds")
    return file
