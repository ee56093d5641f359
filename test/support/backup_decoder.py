#!/usr/bin/env python3
"""Reads a backup the way the format is specified, sharing no code with the programs it judges.

    backup_decoder.py REPOSITORY STANZA LABEL [PASSPHRASE]

Every file of the backup's manifest is put together from what the repository holds: objects of their
own, members of bundles, and super blocks in the order of block maps. Its size and SHA-1, and the
SHA-1 of its stored bytes, must be those of the manifest, and nothing may be left over. Prints how
many files of each kind there were; what does not fit ends it with a message and status 1.
"""
import bz2
import ctypes
import functools
import hashlib
import json
import os
import subprocess
import sys
import zlib

EXTENSION = {"none": "", "gz": ".gz", "bz2": ".bz2", "lz4": ".lz4", "zst": ".zst"}


def fail(message):
    sys.exit("backup_decoder: " + message)


def filter_through(command, data):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        fail("%s: %s" % (command[0], done.stderr.decode(errors="replace")))
    return done.stdout


@functools.cache
def libcrypto():
    """OpenSSL without a process for each of some thousand blocks: these are the calls of `openssl enc`."""
    library = ctypes.CDLL("libcrypto.so.3")
    for name in ("EVP_aes_256_cbc", "EVP_sha1", "EVP_CIPHER_CTX_new"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


def decrypt(data, passphrase, raw):
    """As `openssl enc -d -aes-256-cbc -md sha1` does; the raw form leaves the magic out."""
    if not raw and data[:8] != b"Salted__":
        fail("encrypted data begins with something else than its magic")
    data = data if raw else data[8:]
    salt, data = data[:8], data[8:]
    if len(salt) < 8 or not data or len(data) % 16:
        fail("encrypted data ends early")
    crypto = libcrypto()
    aes, sha1, context = (ctypes.c_void_p(made) for made in
                          (crypto.EVP_aes_256_cbc(), crypto.EVP_sha1(), crypto.EVP_CIPHER_CTX_new()))
    key, vector = ctypes.create_string_buffer(32), ctypes.create_string_buffer(16)
    phrase = passphrase.encode()
    out, size, rest = ctypes.create_string_buffer(len(data) + 16), ctypes.c_int(), ctypes.c_int()
    right = (crypto.EVP_BytesToKey(aes, sha1, salt, phrase, len(phrase), 1, key, vector) == 32
             and crypto.EVP_DecryptInit_ex(context, aes, None, key, vector) == 1
             and crypto.EVP_DecryptUpdate(context, out, ctypes.byref(size), data, len(data)) == 1
             and crypto.EVP_DecryptFinal_ex(context, ctypes.byref(out, size.value), ctypes.byref(rest)) == 1)
    crypto.EVP_CIPHER_CTX_free(context)
    if not right:
        fail("data cannot be decrypted with this passphrase")
    return out.raw[:size.value + rest.value]


def decompress(data, codec, raw):
    """All of the data must be one stream: what follows it would be lost to a reader of the map."""
    if codec == "none":
        return data
    if codec in ("zst", "lz4"):
        return filter_through(["zstd" if codec == "zst" else "lz4", "-dc"], data)
    # The raw form of gz is a zlib stream.
    stream = bz2.BZ2Decompressor() if codec == "bz2" else zlib.decompressobj(15 if raw else 31)
    content = stream.decompress(data)
    if not stream.eof or stream.unused_data:
        fail("a stream does not end where its stored bytes end")
    return content


class Manifest:
    """backup.manifest: lines of key=JSON in sections, then defaults, which are of no interest here."""

    def __init__(self, text):
        self.sections = {}
        name = None
        for line in text.split("\n"):
            if line.startswith("[") and line.endswith("]"):
                name = line[1:-1]
                self.sections[name] = {}
            elif line:
                key, value = self.entry(line)
                self.sections[name][key] = value
        self.labels = self.sections["backup"]["backup-reference"].split(",")
        self.label = self.sections["backup"]["backup-label"]
        self.raw_bundles = self.sections["backup"].get("backup-bundle-raw", False)
        self.codec = self.sections["backup:option"]["option-compress-type"]
        self.passphrase = self.sections.get("cipher", {}).get("cipher-pass")
        self.files = self.sections["target:file"]

    @staticmethod
    def entry(line):
        """A name may hold an equals sign itself; the value is what is JSON behind the first that fits."""
        at = line.find("=")
        while at > 0:
            try:
                return line[:at], json.loads(line[at + 1:])
            except ValueError:
                at = line.find("=", at + 1)
        fail("no key and value: " + line)


class MapReader:
    """The items of a block map: (label index, bundle, offset, stored size, length, position, checksum)."""

    def __init__(self, data, block_size, checksum_size):
        self.data, self.at = data, 0
        self.block_size, self.checksum_size = block_size, checksum_size
        self.items = []
        self.latest = {}  # of each reference: bundle, offset, size, length, position
        self.size = None  # stored size of the super block visited last
        if self.varint() != 0:
            fail("block map of an unknown version")
        while not self.run():
            pass
        if self.at != len(data):
            fail("%d bytes follow a block map" % (len(data) - self.at))

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def run(self):
        """A run of blocks of one reference; tells whether it was the last one."""
        head = self.varint()
        reference = head >> 3
        state = self.latest.get(reference)
        ended = False
        if state is None:
            state = self.latest[reference] = dict(bundle=0, offset=0, size=0, length=self.block_size, position=0)
            if head & 2:
                state["bundle"] = self.varint()
            if head & 4:
                state["offset"] = self.varint()
        elif head & 2:
            ended = bool(head & 4)
            self.size = state["size"]
            self.blocks(reference, state, partial=True)
        elif head & 4:
            state["offset"] += self.varint()
        while not ended:
            ended = self.super_block(reference, state)
        return bool(head & 1)

    def super_block(self, reference, state):
        head = self.varint()
        state["offset"] += state["size"]
        value = head >> 3
        if self.size is not None:
            value = self.size + (value // 2 if value % 2 == 0 else -(value + 1) // 2)
        self.size = state["size"] = value
        state["position"] = 0
        if head & 2:
            length = self.varint()
            state["length"] = length // 2 * self.block_size + (self.varint() if length % 2 else 0)
        self.blocks(reference, state, partial=bool(head & 4))
        return bool(head & 1)

    def blocks(self, reference, state, partial):
        count = -(-state["length"] // self.block_size)
        if partial:
            head = self.varint()
            count = head // 2 + 1
            state["position"] += self.varint() if head % 2 else 0
        for _ in range(count):
            checksum = self.data[self.at:self.at + self.checksum_size]
            self.at += self.checksum_size
            if len(checksum) != self.checksum_size:
                fail("a block map ends early")
            self.items.append((reference, state["bundle"], state["offset"], state["size"], state["length"],
                               state["position"], checksum))
            state["position"] += 1


class Decoder:
    def __init__(self, repository, stanza, label, passphrase):
        self.top = os.path.join(repository, "backup", stanza)
        backup_pass = None
        if passphrase:
            text = decrypt(self.object("backup.info"), passphrase, raw=False).decode()
            backup_pass = dict(Manifest.entry(line) for line in text.split("\n")
                               if line and not line.startswith("["))["cipher-pass"]
        text = self.object(label, "backup.manifest")
        if backup_pass:
            text = decrypt(text, backup_pass, raw=False)
        self.manifest = Manifest(text.decode())
        self.counts = {"empty": 0, "whole": 0, "bundled": 0, "blocks": 0, "maps of several backups": 0}

    def object(self, *name, offset=0, size=-1):
        with open(os.path.join(self.top, *name), "rb") as f:
            f.seek(offset)
            return f.read(size)

    def decode(self, data, raw, codec):
        if self.manifest.passphrase:
            data = decrypt(data, self.manifest.passphrase, raw)
        return decompress(data, codec, raw)

    def stored(self, name, entry):
        """The stored bytes of a file."""
        label = entry.get("reference", self.manifest.label)
        if "bni" in entry:
            offset, size = entry.get("bno", 0), entry.get("repo-size", entry["size"])
            return self.object(label, "bundle", str(entry["bni"]), offset=offset, size=size)
        return self.object(label, name + (".pgbi" if "bim" in entry else EXTENSION[self.manifest.codec]))

    def blocks(self, name, entry, stored):
        block_size = entry["bi"] * 8192
        map_data = stored[len(stored) - entry["bim"]:]
        items = MapReader(self.decode(map_data, True, "none"), block_size, entry.get("bic", 6)).items
        if len(items) != -(-entry["size"] // block_size):
            fail("%s: a map of %d blocks" % (name, len(items)))
        self.counts["maps of several backups"] += len({item[0] for item in items}) > 1
        content = b""
        held = {}
        for reference, bundle, offset, size, length, position, _ in items:
            key = (reference, bundle, offset)
            if key not in held:
                place = ("bundle", str(bundle)) if bundle else (name + ".pgbi",)
                data = self.object(self.manifest.labels[reference], *place, offset=offset, size=size)
                held[key] = self.decode(data, True, self.manifest.codec)
                if len(held[key]) != length:
                    fail("%s: a super block of %d bytes is said to have %d" % (name, len(held[key]), length))
            content += held[key][position * block_size:(position + 1) * block_size]
        return content

    def check(self, name, entry):
        if entry["size"] == 0:
            self.counts["empty"] += 1
            return
        stored = self.stored(name, entry)
        if len(stored) != entry.get("repo-size", entry["size"]):
            fail("%s: %d bytes are stored" % (name, len(stored)))
        if "rck" in entry and hashlib.sha1(stored).hexdigest() != entry["rck"]:
            fail(name + ": stored bytes are others than the manifest says")
        if "bim" in entry:
            self.counts["blocks"] += 1
            content = self.blocks(name, entry, stored)
        else:
            bundled = "bni" in entry
            self.counts["bundled" if bundled else "whole"] += 1
            content = self.decode(stored, bundled and self.manifest.raw_bundles, self.manifest.codec)
        if len(content) != entry["size"] or hashlib.sha1(content).hexdigest() != entry["checksum"]:
            fail(name + ": content is another than the manifest says")

    def run(self):
        for name, entry in self.manifest.files.items():
            self.check(name, entry)
        print(json.dumps(self.counts))


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    Decoder(*sys.argv[1:4], sys.argv[4] if len(sys.argv) == 5 else None).run()
