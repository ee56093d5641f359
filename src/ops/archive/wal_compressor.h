#pragma once

#include <atomic>
#include <cstddef>

#include "chronos/compress/compress.h"

namespace chronos::ops::archive {

/// Compresses one WAL segment after the other, at the price in time that they deserve.
///
/// What repeats in WAL was, as a rule, written a moment ago. Who looks for it only there needs half
/// the time and often writes less, because a near match has the shorter code; but long texts that
/// come back after a megabyte would take twice the room. A level is a promise about size, so it is
/// measured: every kProbeInterval-th segment is compressed in both ways, and those that follow in
/// the way that this one did better in. Any thread.
class WalCompressor {
public:
    /// What a segment may be larger than the level would make it.
    static constexpr double kSizeExcessMax = 0.02;
    static constexpr unsigned kProbeInterval = 32;

    WalCompressor(compress::CompressType type, int level) : type_(type), level_(level) {}

    /// As compress::compress_whole().
    Result<std::size_t> compress(io::Bytes segment, io::MutableBytes out);

private:
    Result<std::size_t> probe(io::Bytes segment, io::MutableBytes out);

    const compress::CompressType type_;
    const int level_;
    std::atomic<unsigned> count_{0};
    std::atomic<compress::Reach> reach_{compress::Reach::of_level};
};

}  // namespace chronos::ops::archive
