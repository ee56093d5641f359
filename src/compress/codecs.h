#pragma once

#include <memory>

#include "chronos/compress/compress.h"

/// One pair of stages a container format; each file is the only one that knows its library.
namespace chronos::compress {

std::unique_ptr<io::Sink> make_gz_compressor(int level, Form form, io::Sink& next);
std::unique_ptr<io::Sink> make_gz_decompressor(Form form, io::Sink& next);
std::unique_ptr<io::Sink> make_bz2_compressor(int level, io::Sink& next);
std::unique_ptr<io::Sink> make_bz2_decompressor(io::Sink& next);
std::unique_ptr<io::Sink> make_lz4_compressor(int level, Form form, io::Sink& next);
std::unique_ptr<io::Sink> make_lz4_decompressor(io::Sink& next);
std::unique_ptr<io::Sink> make_zst_compressor(int level, io::Sink& next);
std::unique_ptr<io::Sink> make_zst_decompressor(io::Sink& next);
bool zst_can_look_near(int level);
Result<std::size_t> compress_whole_zst(int level, Reach reach, io::Bytes in, io::MutableBytes out);

/// The stream ended before its own end mark.
Error cut_short(CompressType type);
/// The stream breaks the rules of its format, in the words of the library.
Error damaged(CompressType type, std::string_view what);

}  // namespace chronos::compress
