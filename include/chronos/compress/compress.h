#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "chronos/io/stream.h"

namespace chronos::compress {

enum class CompressType { none, gz, bz2, lz4, zst };

/// The two framings a repository uses: `normal` for files of their own, `raw` for members of raw
/// bundles and for super blocks. Source: docs/format/compression.md, Framing.
enum class Form { normal, raw };

/// "gz" for gz, as in options and manifests.
std::string_view compress_type_name(CompressType type);
std::optional<CompressType> parse_compress_type(std::string_view name);
/// ".gz" for gz, "" for none.
std::string_view compress_extension(CompressType type);
/// By the end of a file name; none if it has no extension of a compression.
CompressType compress_type_of_name(std::string_view file_name);
int default_compress_level(CompressType type);
struct LevelRange {
    int min;
    int max;
};
LevelRange compress_level_range(CompressType type);

/// A stage that writes the compressed form of what it gets to `next` (which must outlive it):
/// one gzip member, one bzip2 stream, one zstd or LZ4 frame. For none it passes bytes on.
std::unique_ptr<io::Sink> make_compressor(CompressType type, int level, Form form, io::Sink& next);

/// How far back repetitions are looked for.
enum class Reach : std::uint8_t {
    of_level,
    near,  ///< what was written a moment ago: half the time, and in some contents twice the size
};

/// Whether Reach::near makes a difference.
bool can_look_near(CompressType type, int level);

/// What make_compressor() with Form::normal makes of a content that lies in memory as a whole, in
/// `out`; returns its size. zstd needs a fifth less time for it, because it can look back in `in`
/// instead of keeping a window of its own; what it writes differs in bytes, not in form. Kind
/// internal if `out` is too small.
Result<std::size_t> compress_whole(CompressType type, int level, io::Bytes in, io::MutableBytes out,
                                   Reach reach = Reach::of_level);

/// The stage for the way back. It reads every "ok" row of docs/format/compression.md, What readers
/// accept: what follows the first gzip member or bzip2 stream is ignored, several zstd or LZ4
/// frames are read. finish() fails with kind format if the stream is cut short or damaged.
std::unique_ptr<io::Sink> make_decompressor(CompressType type, Form form, io::Sink& next);

}  // namespace chronos::compress
