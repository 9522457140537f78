"""Writes `files/`: spoilt inputs that are no text, each of a few bytes. Python's own library is enough.

    python3 bad/make.py
"""

import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

FILES = Path(__file__).parent / "files"


def write(name, content):
    FILES.mkdir(exist_ok=True)
    (FILES / name).write_bytes(content)


def chunk(kind, data, crc=None):
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(width=8, height=8, depth=8, color=2, rows=None, extra=b"", end=True, interlace=0):
    rows = zlib.compress((b"\0" + bytes(3 * 8)) * 8) if rows is None else rows
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace))
    file = b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", rows)
    return file + (chunk(b"IEND", b"") if end else b"")


def pngs():
    whole = png()
    write("cut.png", whole[:40])
    write("signature.png", whole[:8])
    write("huge.png", png(60_000, 60_000))
    write("no_size.png", png(0, 8))
    write("largest.png", png(2**31 - 1, 2**31 - 1))
    write("depth.png", png(depth=7))
    write("color.png", png(color=5))
    write("interlaced.png", png(interlace=9))
    write("no_data.png", png(rows=b""))
    write("garbage.png", png(rows=b"not a zlib stream"))
    write("short.png", png(rows=zlib.compress(b"\0" * 20)))
    write("checksum.png", whole.replace(chunk(b"IEND", b""), b"").replace(
        whole[29:33], b"\0\0\0\0"))
    write("palette_missing.png", png(color=3, rows=zlib.compress((b"\0" + bytes(8)) * 8)))
    write("filter.png", png(rows=zlib.compress((b"\x09" + bytes(24)) * 8)))
    write("claim.png", png(9_000, 9_000, rows=bytes(9_000)))
    write("claim_deep.png", png(6_000, 6_000, depth=16, color=6, rows=bytes(9_000)))
    bomb = zlib.compress(bytes(1 << 26), 9)
    write("bomb.png", png(7_000, 7_000, rows=bomb[:2_000]))


def gif(width=8, height=8, frames=((0, 0, 8, 8),), palette=True, code=b"\x02\x02\x4c\x01\x00", end=b";"):
    flags = 0x80 if palette else 0
    file = b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0)
    file += b"\0\0\0\xff\xff\xff" if palette else b""
    for left, top, w, h in frames:
        file += b"," + struct.pack("<HHHHB", left, top, w, h, 0) + code
    return file + end


def gifs():
    write("huge.gif", gif(65_535, 65_535, [(0, 0, 65_535, 65_535)]))
    write("frame_huge.gif", gif(8, 8, [(0, 0, 65_535, 65_535)]))
    write("no_size.gif", gif(0, 0, [(0, 0, 0, 0)]))
    write("outside.gif", gif(8, 8, [(9, 9, 8, 8)]))
    write("canvas.gif", gif(9_000, 9_000))
    write("no_palette.gif", gif(palette=False))
    write("no_frame.gif", gif(frames=()))
    write("code_size.gif", gif(code=b"\x0f\x02\x4c\x01\x00"))
    write("cut.gif", gif()[:30])
    write("header.gif", b"GIF89a")


def bmp(width=8, height=8, bits=24, offset=54, compression=0, data=bytes(192), header=40, colors=0):
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, 0, 0, 0, colors, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, offset) + info + data


def bmps():
    write("huge.bmp", bmp(60_000, 60_000))
    write("negative.bmp", bmp(-8, 8))
    write("least.bmp", bmp(8, -(2**31)))
    write("bits.bmp", bmp(bits=7))
    write("cut.bmp", bmp(data=b"\0" * 9))
    write("compression.bmp", bmp(compression=77))
    write("header.bmp", bmp(header=7))
    write("offset.bmp", bmp(offset=2**31))
    # Claims that a decoder would have to make room for before it finds nothing behind them.
    palette = bytes(1024)
    runs = lambda data: bmp(9_000, 9_000, 8, 54 + 1024, 1, palette + data)
    write("runs.bmp", runs(b"\xff\1" * 100))
    write("runs_ended.bmp", runs(b"\xff\1\0\1"))
    write("runs_left.bmp", runs(b"\0\2\0\xff" * 60))
    write("runs_4.bmp", bmp(9_000, 9_000, 4, 54 + 64, 2, bytes(64) + b"\xff\1" * 4_200))
    write("plain_huge.bmp", bmp(9_000, 9_000))
    write("bits_huge.bmp", bmp(9_000, 9_000, 1, 62, data=bytes(9_000)))


def tiff(tags, data=b""):
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


def tiffs():
    def tags(**more):
        base = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 8, 279: 64}
        base.update({int(key[1:]): value for key, value in more.items()})
        return [(tag, 4, 1, value) for tag, value in base.items() if value is not None]

    write("huge.tiff", tiff(tags(t256=60_000, t257=60_000)))
    write("no_size.tiff", tiff(tags(t256=0)))
    write("no_width.tiff", tiff(tags(t256=None)))
    write("compression.tiff", tiff(tags(t259=9_999)))
    write("offset.tiff", tiff(tags(t273=4_000_000_000)))
    write("strips.tiff", tiff(tags(t278=0)))
    write("samples.tiff", tiff(tags(t277=60_000)))
    write("cut.tiff", tiff(tags())[:20])
    write("loop.tiff", b"II*\0" + struct.pack("<IH", 8, 0) + struct.pack("<I", 8))
    count = [(258, 3, 4_000_000_000, 8)]
    write("count.tiff", tiff([tag for tag in tags() if tag[0] != 258] + count))
    strips = [(273, 4, 7_929_857, 200)]
    write("values.tiff", tiff(sorted([tag for tag in tags() if tag[0] != 273] + strips)))
    # A strip that is a JPEG, whose own header says that it has 16,383 rows and columns.
    strip = (FILES / "../../fixtures/formats/ycbcr_jpeg_444.tif").read_bytes()
    sides = strip.index(b"\xff\xc0") + 5
    for name, compression in [("plain", 1), ("deflate", 8), ("packbits", 32773), ("lzw", 5)]:
        write(f"claim_{name}.tiff", tiff(tags(t256=9_000, t257=9_000, t278=9_000, t259=compression)) + bytes(9_000))
    write("jpeg_strip.tiff", strip[:sides] + b"\x3f\xff\x3f\xff" + strip[sides + 4 :])


def tgas():
    def tga(kind, depth, data=bytes(9_000)):
        head = struct.pack("<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, 9_000, 9_000, depth, 0)
        return head + data

    write("huge.tga", tga(2, 32))
    write("runs.tga", tga(10, 24, b"\xff\1\2\3" * 2_300))
    write("gray_runs.tga", tga(11, 8, b"\xff\1" * 4_500))


def texts():
    for name, text in [("utf_16.csv", "image,question\nx.png,what?\n"),
                       ("utf_16.jsonl", '{"image": "x.png", "question": "what?"}\n'),
                       ("utf_16.txt", "what?\n")]:
        write(name, text.encode("utf-16"))
    write("apple_double.jpg", b"\0\5\x16\7\0\2\0\0Mac OS X        \0\2" + bytes(40))


def others():
    write("empty.png", b"")
    write("text.png", b"just some text")
    write("document.png", b"%PDF-1.7\n")
    write("nulls.png", bytes(100))
    jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    write("start.jpg", b"\xff\xd8\xff")
    write("header.jpg", jpeg)
    write("huge.jpg", jpeg + b"\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xd9")
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(9_000)
    write("claim.jpg", jpeg + b"\xff\xc0\0\x0b\x08\x23\x28\x23\x28\1\1\x11\0" + scan + b"\xff\xd9")
    write("no_size.jpg", jpeg + b"\xff\xc0\0\x0b\x08\0\0\0\0\1\1\x11\0\xff\xd9")
    write("length.jpg", jpeg + b"\xff\xe1\0\0\xff\xd9")
    write("riff.webp", b"RIFF\x04\0\0\0WEBP")
    write("length.webp", b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff")
    write("lossless.webp", b"RIFF\x14\0\0\0WEBPVP8L\x08\0\0\0\x2f\xff\xff\xff\x0f\0\0\0")
    extended = struct.pack("<BBBB", 2, 0, 0, 0) + b"\xff\xff\xff" * 2
    write("huge.webp", b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + extended)
    write("huge.ppm", b"P6 99999 99999 255\n")
    write("overflow.ppm", b"P6 99999999999999999999 1 255\n")
    write("cut.ppm", b"P6 8 8 255\nabc")
    write("maximum.pgm", b"P5 8 8 0\n" + bytes(64))
    write("endless.ppm", b"P6 " + b"#" * 2_000)
    write("huge.qoi", b"qoif" + struct.pack(">IIBB", 60_000, 60_000, 3, 0))
    write("cut.qoi", b"qoif" + struct.pack(">IIBB", 8, 8, 3, 0))
    write("runs.qoi", b"qoif" + struct.pack(">IIBB", 9_000, 9_000, 4, 0) + b"\xfd" * 9_000)
    write("claim.ppm", b"P6 7000 7000 65535\n" + bytes(9_000))
    write("claim.pbm", b"P4 9000 9000\n" + bytes(9_000))
    write("claim_words.pgm", b"P2 9000 9000 255\n" + b"1 " * 4_500)
    write("claim.pam", b"P7\nWIDTH 6000\nHEIGHT 6000\nDEPTH 4\nMAXVAL 65535\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + bytes(9_000))
    write("above.pgm", b"P2 2 1 100\n1 101")
    write("channels.qoi", b"qoif" + struct.pack(">IIBB", 8, 8, 9, 0) + bytes(16))
    entry = struct.pack("<BBBBHHII", 8, 8, 0, 0, 1, 32, 4_000_000_000, 22)
    write("length.ico", b"\0\0\1\0\1\0" + entry)
    info = struct.pack("<IiiHHIIiiII", 40, 300, 600, 1, 32, 0, 0, 0, 0, 0, 0)
    entry = struct.pack("<BBBBHHII", 8, 8, 0, 0, 1, 32, len(info) + 99, 22)
    write("bitmap.ico", b"\0\0\1\0\1\0" + entry + info + bytes(99))
    # A picture whose data says that all are one colour.
    write("blank.webp", b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f" + struct.pack("<I", 9_000 - 1 | 9_000 - 1 << 14)
          + b"\x07\x10\x11\x11\x88\x88\x08\0\0")
    write("none.ico", b"\0\0\1\0\0\0")


class Runs:
    def __reduce__(self):
        return print, ("code of a pickle has run",)


def pickles():
    write("code.pkl", pickle.dumps({"weight": Runs()}, protocol=2))
    write("number.pkl", pickle.dumps(7, protocol=2))
    write("cut.pkl", pickle.dumps({"weight": [1] * 9}, protocol=2)[:12])
    write("loop.pkl", b"\x80\x02]q\0h\0a.")
    write("deep.pkl", b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".")
    write("memo.pkl", b"\x80\x02j\xff\xff\xff\x7f.")
    write("long.pkl", b"\x80\x02\x8b\xff\xff\xff\x7f.")
    write("text.pkl", b"\x80\x02X\xff\xff\xff\xff.")
    # Each list holds the one before twice.
    twice = b"\x80\x02]q\0" + b"".join(
        b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(40))
    write("doubling.pkl", twice + b".")
    # PyTorch's legacy form begins with three pickles: a magic number, a version, the machine.
    magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03."
    write("legacy_cut.bin", magic)
    write("legacy_code.bin", magic + b"\x80\x02}." + pickle.dumps({"w": Runs()}, protocol=2))


def overlapping():
    """A zip of 300 pickles of 20 MB each, which all lie at the same place in it."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = b"\x80\x02X" + struct.pack("<I", 20 << 20) + bytes(20 << 20) + b"."
    packed = pack.compress(content) + pack.flush()
    sizes = struct.pack("<III", zlib.crc32(content), len(packed), len(content))
    start = struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes
    name = b"000/data.pkl"
    file = b"PK\3\4" + start + struct.pack("<HH", len(name), 0) + name + packed
    place, entries = len(file), b""
    for n in range(300):
        entries += b"PK\1\2" + struct.pack("<H", 20) + start
        entries += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + b"%03d/data.pkl" % n
    end = struct.pack("<HHHHIIH", 0, 0, 300, 300, len(entries), place, 0)
    return file + entries + b"PK\5\6" + end


def zips():
    def zipped(files, method=zipfile.ZIP_STORED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in files:
                archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
        return buffer.getvalue()

    def tensor(size, stride, count, offset=0):
        number = lambda n: b"\x8a\x08" + struct.pack("<q", n)
        text = lambda t: b"X" + struct.pack("<I", len(t)) + t
        file = b"\x80\x02}(" + text(b"query_tokens")
        file += b"ctorch._utils\n_rebuild_tensor_v2\n((" + text(b"storage")
        file += b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + number(count) + b"tQ"
        file += number(offset) + b"(" + number(size) + b"t(" + number(stride) + b"t"
        return file + b"\x89ccollections\nOrderedDict\n)RtRu."

    def other(storage, rebuild, dtype=b""):
        """A tensor of another form than those of weights, as `torch.save` writes it."""
        file = b"\x80\x02}X\1\0\0\0wctorch._utils\n" + rebuild + b"\n((X\7\0\0\0storagec" + storage
        file += b"\nX\1\0\0\x000X\3\0\0\0cpuK\4tQK\0K\4\x85K\1\x85\x89ccollections\nOrderedDict\n)R"
        return file + dtype + b"tRs."

    untyped = b"torch.storage\nUntypedStorage"
    for name, content in [
        ("fp8.bin", other(untyped, b"_rebuild_tensor_v3", b"ctorch\nfloat8_e4m3fn\n")),
        ("complex.bin", other(b"torch\nComplexFloatStorage", b"_rebuild_tensor_v2")),
    ]:
        write(name, zipped([("model/data.pkl", content), ("model/data/0", bytes(32))]))
    code = pickle.dumps({"weight": Runs()}, protocol=2)
    write("code.bin", zipped([("model/data.pkl", code), ("model/version", b"3\n")]))
    write("no_pickle.bin", zipped([("model/version", b"3\n")]))
    write("nothing.bin", zipped([]))
    whole = zipped([("model/data.pkl", tensor(4, 1, 4)), ("model/data/0", bytes(16))])
    write("cut.bin", whole[:200])
    write("no_storage.bin", zipped([("model/data.pkl", tensor(4, 1, 4))]))
    for name, size, stride, count, offset in [
        ("larger.bin", 8, 1, 4, 0),
        ("negative.bin", -4, 1, 4, 0),
        ("stride.bin", 4, 2**62, 4, 0),
        ("offset.bin", 4, 1, 4, 2**62),
        ("count.bin", 2**40, 0, 2**40, 0),
        ("repeated.bin", 2**28, 0, 4, 0),
    ]:
        write(name, zipped([("model/data.pkl", tensor(size, stride, count, offset)),
                            ("model/data/0", bytes(16))]))
    bomb = zipped([("model/data.pkl", tensor(4, 1, 4)), ("model/data/0", bytes(1 << 24))],
                  zipfile.ZIP_DEFLATED)
    write("deflated.bin", bomb)
    write("overlapping.bin", overlapping())
    write("pickle_bomb.bin", zipped([("model/data.pkl", b"N0" * (1 << 23))], zipfile.ZIP_DEFLATED))


def safetensors():
    def file(header, data=b""):
        header = header.encode()
        return struct.pack("<Q", len(header)) + header + data

    one = '"%s":{"dtype":"%s","shape":%s,"data_offsets":[%s,%s]}'
    write("length.safetensors", struct.pack("<Q", 2**63) + b"{}")
    write("longer.safetensors", struct.pack("<Q", 1000) + b"{}")
    write("short.safetensors", b"abc")
    write("empty.safetensors", b"")
    write("no_json.safetensors", file("{oops"))
    write("no_text.safetensors", struct.pack("<Q", 2) + b"\xff\xfe")
    write("list.safetensors", file("[]"))
    write("no_tensors.safetensors", file("{}"))
    write("overflow.safetensors", file("{%s}" % (one % ("a", "F32", [2**62, 16], 0, 16)), bytes(16)))
    write("backwards.safetensors", file("{%s}" % (one % ("a", "F32", [4], 16, 0)), bytes(16)))
    write("negative.safetensors", file("{%s}" % (one % ("a", "F32", [-4], 0, 16)), bytes(16)))
    write("beyond.safetensors", file("{%s}" % (one % ("a", "F32", [4], 16, 32)), bytes(16)))
    write("shape.safetensors", file("{%s}" % (one % ("a", "F32", [5], 0, 16)), bytes(16)))
    write("dtype.safetensors", file("{%s}" % (one % ("a", "F99", [4], 0, 16)), bytes(16)))
    write("behind.safetensors", file("{%s}" % (one % ("a", "F32", [4], 0, 16)), bytes(99)))
    both = "{%s,%s}" % (one % ("a", "F32", [4], 0, 16), one % ("b", "F32", [4], 8, 24))
    write("overlap.safetensors", file(both, bytes(24)))
    write("escape.safetensors", file("{%s}" % (one % ("a\\u001b[2J", "F32", [4], 0, 16)), bytes(16)))
    write("line.safetensors", file("{%s}" % (one % ("a\\nmissing: b", "F32", [4], 0, 16)), bytes(16)))
    write("deep.safetensors", file("[" * 100_000))
    matrix = '{"a":{"format":"%s","shape":[%s,%s]}}'
    for name, form, outputs, inputs in [
        ("packed_shape", "int8", 2**63, 2**63),
        ("packed_format", "int99", 4, 4),
        ("packed_size", "int8", 4, 4),
    ]:
        text = (matrix % (form, outputs, inputs)).replace('"', '\\"')
        head = '{"__metadata__":{"blip2.packed":"%s","file:config.json":"{}"},%s}'
        write(name + ".safetensors", file(head % (text, one % ("a", "U8", [16], 0, 16)), bytes(16)))


def wav(data=bytes(100), tag=1, channels=1, rate=16_000, bits=16, frame=None, stated=None, extra=b"", kept=None):
    frame = channels * bits // 8 if frame is None else frame
    second = rate * frame & 0xFFFF_FFFF
    form = struct.pack("<HHIIHH", tag, channels, rate, second, frame, bits) + extra
    form = form[:kept]
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data) if stated is None else stated) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def wavs():
    whole = wav()
    write("empty.wav", b"")
    write("magic.wav", whole[:12])
    write("no_data.wav", wav(b""))
    write("no_format.wav", whole[:12] + whole[36:])
    write("short_format.wav", wav(b"", kept=10)[:30])
    write("cut.wav", whole[:45])
    write("endless.wav", wav(b"", stated=0xFFFF_FFFF))
    write("endless_chunk.wav", whole[:12] + b"LIST\xff\xff\xff\xff" + whole[12:])
    write("half.wav", wav(bytes(101)))
    write("no_channels.wav", wav(channels=0))
    write("channels.wav", wav(bytes(2 * 65_535), channels=65_535, bits=8, frame=65_535))
    write("no_rate.wav", wav(rate=0))
    write("rate.wav", wav(rate=0xFFFF_FFFF))
    write("frame.wav", wav(bytes(99), frame=3))
    write("seconds.wav", wav(bytes(2 * 3_601), rate=1))
    write("bits.wav", wav(bits=12, frame=2))
    write("half_floats.wav", wav(bytes(96), tag=3, bits=16))
    valid = struct.pack("<HHIH", 22, 40, 4, 1) + bytes.fromhex("000000001000800000aa00389b71")
    write("valid.wav", wav(tag=0xFFFE, bits=32, extra=valid))
    write("mu_law.wav", wav(tag=7, bits=8))
    write("adpcm.wav", wav(tag=0x11, bits=4, frame=256))
    write("nan.wav", wav(struct.pack("<fff", 0.5, float("nan"), 0.5), tag=3, bits=32))
    write("flac.wav", b"fLaC\0\0\0\x22" + bytes(34))
    write("mp3.wav", b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\x64" + bytes(100))
    write("pointer.wav", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n")


if __name__ == "__main__":
    for made in [pngs, gifs, bmps, tgas, tiffs, texts, others, pickles, zips, safetensors, wavs]:
        made()
